//! YUV4MPEG2, the uncompressed stream that every video tool reads and writes; only 4:2:0, eight bits.

use std::io::{self, BufRead, Write};

use thiserror::Error;

use crate::picture::Yuv420;

/// Longest header line; real ones have about 60 octets.
const LINE_MAX: u64 = 1_024;

/// Widest and highest picture, in pixels.
const SIDE_MAX: usize = 8_192;

/// What the header line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels, even.
    pub width: usize,
    /// Height in pixels, even.
    pub height: usize,
    /// Frames per second: numerator, denominator.
    pub fps: (u32, u32),
}

/// Why a stream cannot be read.
#[derive(Debug, Error)]
pub enum Y4mError {
    /// The reader failed, or ended in the middle of a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not YUV4MPEG2, or a line that cannot be understood.
    #[error("not YUV4MPEG2: {0}")]
    Syntax(&'static str),
    /// A format that this library does not read.
    #[error("{0}; convert it with `ffmpeg -i INPUT -pix_fmt yuv420p OUTPUT.y4m`")]
    Unsupported(String),
}

/// Reads frames one by one.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header line.
    pub fn new(mut input: R) -> Result<Reader<R>, Y4mError> {
        let line = read_line(&mut input)?.ok_or(Y4mError::Syntax("empty"))?;
        let header = parse_header(&line)?;
        Ok(Reader { input, header })
    }

    /// What the header line says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The next frame; None at the end of the stream.
    pub fn read(&mut self) -> Result<Option<Yuv420>, Y4mError> {
        let Some(line) = read_line(&mut self.input)? else {
            return Ok(None);
        };
        if line != "FRAME" && !line.starts_with("FRAME ") {
            return Err(Y4mError::Syntax("a frame does not begin with FRAME"));
        }
        let mut picture = Yuv420::black(self.header.width, self.header.height);
        self.input.read_exact(&mut picture.y)?;
        self.input.read_exact(&mut picture.u)?;
        self.input.read_exact(&mut picture.v)?;
        Ok(Some(picture))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Yuv420, Y4mError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Writes frames one by one.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    header: Header,
}

impl<W: Write> Writer<W> {
    /// Writes the header line.
    pub fn new(mut output: W, header: Header) -> io::Result<Writer<W>> {
        let Header {
            width,
            height,
            fps: (num, den),
        } = header;
        writeln!(
            output,
            "YUV4MPEG2 W{width} H{height} F{num}:{den} Ip A1:1 C420mpeg2"
        )?;
        Ok(Writer { output, header })
    }

    /// Writes a frame; one of another size is an `InvalidInput` error.
    pub fn write(&mut self, picture: &Yuv420) -> io::Result<()> {
        if (picture.width(), picture.height()) != (self.header.width, self.header.height) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a frame of another size",
            ));
        }
        self.output.write_all(b"FRAME\n")?;
        self.output.write_all(&picture.y)?;
        self.output.write_all(&picture.u)?;
        self.output.write_all(&picture.v)
    }

    /// Flushes and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// A line without its newline; None at the end of the stream.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>, Y4mError> {
    let mut line = Vec::new();
    let taken = io::Read::take(&mut *input, LINE_MAX).read_until(b'\n', &mut line)?;
    if taken == 0 {
        return Ok(None);
    }
    let line = line
        .strip_suffix(b"\n")
        .ok_or(Y4mError::Syntax("a line without end"))?;
    String::from_utf8(line.to_vec())
        .map(Some)
        .map_err(|_| Y4mError::Syntax("a line is not text"))
}

fn parse_header(line: &str) -> Result<Header, Y4mError> {
    let mut fields = line.split(' ');
    if fields.next() != Some("YUV4MPEG2") {
        return Err(Y4mError::Syntax("it does not begin with YUV4MPEG2"));
    }
    let (mut width, mut height, mut fps) = (None, None, None);
    for field in fields.filter(|f| !f.is_empty()) {
        let (tag, value) = field
            .split_at_checked(1)
            .ok_or(Y4mError::Syntax("a strange field"))?;
        match tag {
            "W" => width = value.parse().ok(),
            "H" => height = value.parse().ok(),
            "F" => {
                fps = value
                    .split_once(':')
                    .and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)))
            }
            "C" if !matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv") => {
                return Err(Y4mError::Unsupported(format!(
                    "colour format {value} is not 8-bit 4:2:0"
                )));
            }
            _ => {} // interlacing, aspect ratio, comments
        }
    }
    let (Some(width), Some(height), Some(fps)) = (width, height, fps) else {
        return Err(Y4mError::Syntax("width, height or frame rate is missing"));
    };
    let fits = |side: usize| (2..=SIDE_MAX).contains(&side) && side.is_multiple_of(2);
    if !fits(width) || !fits(height) {
        return Err(Y4mError::Unsupported(format!(
            "{width}x{height} is odd or too large"
        )));
    }
    Ok(Header { width, height, fps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;

    const HEADER: Header = Header {
        width: 64,
        height: 48,
        fps: (30_000, 1_001),
    };

    #[test]
    fn what_is_written_is_read_back() {
        let pictures: Vec<_> = (0..3).map(|k| pattern::picture(k, 64, 48)).collect();
        let mut writer = Writer::new(Vec::new(), HEADER).unwrap();
        pictures.iter().for_each(|p| writer.write(p).unwrap());
        let bytes = writer.finish().unwrap();
        let reader = Reader::new(bytes.as_slice()).unwrap();
        assert_eq!(reader.header(), HEADER);
        assert_eq!(reader.map(|p| p.unwrap()).collect::<Vec<_>>(), pictures);
    }

    #[test]
    fn a_stream_cut_within_a_frame_is_an_error() {
        let mut writer = Writer::new(Vec::new(), HEADER).unwrap();
        writer.write(&Yuv420::black(64, 48)).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(reader.read(), Err(Y4mError::Io(_))));
    }

    #[test]
    fn other_formats_are_refused_with_a_reason() {
        for header in [
            "",
            "RIFF W2 H2 F1:1\n",
            "YUV4MPEG2 W64 H48\n",
            "YUV4MPEG2 W64 H48 F30:1 C444\n",
            "YUV4MPEG2 W64 H48 F30:1 C420p10\n",
            "YUV4MPEG2 W63 H48 F30:1\n",
            "YUV4MPEG2 W99999998 H48 F30:1\n",
            "YUV4MPEG2 W64 H48 F30:1",
            "YUV4MPEG2 \u{e9}64\n",
        ] {
            assert!(Reader::new(header.as_bytes()).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_picture_of_another_size_is_not_written() {
        let mut writer = Writer::new(Vec::new(), HEADER).unwrap();
        assert!(writer.write(&Yuv420::black(64, 64)).is_err());
    }
}
