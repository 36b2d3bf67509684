//! Frame Streams, the framing of dnstap: data frames are a length and that many octets; a length of zero announces a
//! control frame. Before the first data frame both sides agree on the content: READY, ACCEPT, START; after the last one
//! STOP, FINISH.

/// What the frames hold.
const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// The field of a control frame that says so.
const FIELD_CONTENT_TYPE: u32 = 1;
/// Longest control frame that is read: the limit of the reference implementation.
pub(crate) const CONTROL_MAX: usize = 512;

/// Kinds of control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

impl Control {
    /// The whole frame. READY and START say what the content is.
    pub(crate) fn frame(self) -> Vec<u8> {
        let mut body = (self as u32).to_be_bytes().to_vec();
        if matches!(self, Self::Ready | Self::Start) {
            body.extend(FIELD_CONTENT_TYPE.to_be_bytes());
            body.extend((CONTENT_TYPE.len() as u32).to_be_bytes());
            body.extend(CONTENT_TYPE);
        }
        let mut frame = vec![0; 4];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        frame
    }

    /// True if the body of a control frame is of this kind, and an ACCEPT takes our content.
    pub(crate) fn is(self, body: &[u8]) -> bool {
        let Some((kind, fields)) = body.split_first_chunk() else {
            return false;
        };
        let ours = self != Self::Accept || content_types(fields).any(|name| name == CONTENT_TYPE);
        u32::from_be_bytes(*kind) == self as u32 && ours
    }
}

/// The content types in the fields of a control frame, up to the first that is broken.
fn content_types(mut fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let (field, rest) = fields.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            fields = rest;
            if u32::from_be_bytes(*field) == FIELD_CONTENT_TYPE {
                return Some(value);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_has_to_take_our_content() {
        let mut accept = Control::Ready.frame().split_off(8);
        accept[3] = Control::Accept as u8;
        assert!(Control::Accept.is(&accept));
        assert!(!Control::Finish.is(&accept));
        for end in 0..accept.len() {
            assert!(!Control::Accept.is(&accept[..end]), "cut to {end} octets");
        }
        let other = accept.iter().map(|octet| octet.to_ascii_uppercase());
        assert!(!Control::Accept.is(&other.collect::<Vec<_>>()));
        // Of several types one is enough.
        let mut more = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, b'x', b'y'];
        more.extend(&accept[4..]);
        assert!(Control::Accept.is(&more));
        assert!(Control::Finish.is(&[0, 0, 0, 5]));
    }
}
