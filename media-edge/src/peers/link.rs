//! One stream between two edges, as messages with a length in front, and raw data after them.

use anyhow::{Context, ensure};
use quinn::{RecvStream, SendStream, VarInt};
use rtsp::peer::{self, MESSAGE_OCTETS_MAX, Message};

/// Both directions of a stream.
#[derive(Debug)]
pub struct Link {
    send: SendStream,
    receive: RecvStream,
    /// What has arrived of the next message. Kept here so that a dropped `receive` future loses nothing.
    partial: Vec<u8>,
}

impl Link {
    pub(super) fn new((send, receive): (SendStream, RecvStream)) -> Link {
        Link {
            send,
            receive,
            partial: Vec::new(),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        Ok(self.send.write_all(&peer::encode(message)).await?)
    }

    /// The next message; `None` at the stream's end. May be dropped and called again.
    pub async fn receive(&mut self) -> anyhow::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(Some(message));
            }
            let mut chunk = [0; 2_048];
            let wanted = self.missing().min(chunk.len());
            let Some(space) = chunk.get_mut(..wanted) else {
                return Ok(None);
            };
            match self.receive.read(space).await? {
                None => return Ok(None),
                Some(read) => self
                    .partial
                    .extend_from_slice(space.get(..read).unwrap_or_default()),
            }
        }
    }

    /// Sends octets that belong to no message.
    pub async fn send_data(&mut self, data: &[u8]) -> anyhow::Result<()> {
        Ok(self.send.write_all(data).await?)
    }

    /// Receives exactly that many octets that belong to no message.
    pub async fn receive_data(&mut self, octets: usize) -> anyhow::Result<Vec<u8>> {
        let mut data = vec![0; octets];
        self.receive.read_exact(&mut data).await?;
        Ok(data)
    }

    /// Receives whatever comes up to the stream's end.
    pub async fn receive_rest(&mut self, octets_max: usize) -> anyhow::Result<Vec<u8>> {
        Ok(self.receive.read_to_end(octets_max).await?)
    }

    /// Nothing more will be sent.
    pub fn finish(&mut self) {
        // It fails only if the stream is closed already.
        let _ = self.send.finish();
    }

    fn take_message(&mut self) -> anyhow::Result<Option<Message>> {
        let Some((length, body)) = self.partial.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        ensure!(length <= MESSAGE_OCTETS_MAX, "a message of {length} octets");
        let Some(body) = body.get(..length) else {
            return Ok(None);
        };
        let message = peer::decode(body).context("a message that cannot be read")?;
        self.partial.clear();
        Ok(Some(message))
    }

    /// How much to read for the message begun; never beyond it, what follows may be data.
    fn missing(&self) -> usize {
        match self.partial.split_first_chunk::<4>() {
            None => 4 - self.partial.len(),
            Some((length, body)) => (u32::from_be_bytes(*length) as usize)
                .saturating_sub(body.len())
                .max(1),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Tell the peer at once rather than let its data fill the window.
        let _ = self.receive.stop(VarInt::from_u32(0));
    }
}
