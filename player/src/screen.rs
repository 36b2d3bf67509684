//! The viewer's side: one OpenH264 decoder per description, pictures in order, substitutes for missing
//! ones, a y4m file if wanted. Runs on a thread of its own, since decoding is work.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Instant;

use mdc::codec::Decoder;
use mdc::picture::Yuv420;
use mdc::{interpolate, stamp, y4m};
use tokio::sync::mpsc;

use crate::stamps::Stamps;

/// Gaps up to this are filled by motion; longer ones hold the last picture, as ghosts look worse.
const INTERPOLATED_MAX: usize = 7;
/// Pictures drawn for one gap: a longer one is cut in the file, not written for minutes.
const GAP_MAX: usize = 18_000;

/// One frame whose time has come, in order of numbers.
#[derive(Debug)]
pub enum Shot {
    /// Decode and show.
    Show {
        /// Frame number at the full rate.
        number: u32,
        /// Whose decoder.
        description: u8,
        /// Whether decoding can start here.
        idr: bool,
        /// Annex B.
        data: Vec<u8>,
    },
    /// Decode only.
    Late {
        /// Whose decoder.
        description: u8,
        /// Whether decoding can start here.
        idr: bool,
        /// Annex B.
        data: Vec<u8>,
    },
    /// It is not there.
    Missing {
        /// Frame number at the full rate.
        number: u32,
    },
}

/// What was shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Pictures decoded and shown.
    pub decoded: u64,
    /// Substitutes shown: interpolated or held.
    pub substituted: u64,
    /// Frames the decoder refused.
    pub undecodable: u64,
    /// Numbers shown twice.
    pub repeated: u64,
    /// Numbers shown after a higher one.
    pub out_of_order: u64,
    /// Width and height.
    pub size: Option<(usize, usize)>,
    /// When the first picture was there.
    pub first: Option<Instant>,
    /// What the pixels say.
    pub stamps: Stamps,
}

/// The decoders and the file.
pub struct Screen {
    chains: Vec<Chain>,
    path: Option<PathBuf>,
    file: Option<y4m::Writer<BufWriter<File>>>,
    fps: (u32, u32),
    previous: Option<Yuv420>,
    gap: usize,
    last_number: Option<u32>,
    shown: Shown,
}

struct Chain {
    decoder: Decoder,
    /// After an error nothing is decoded until the next IDR.
    broken: bool,
}

/// Shows everything that comes through `shots` until its end; blocks.
///
/// # Errors
/// A sentence: no decoder, or the file cannot be written.
pub fn show(
    mut shots: mpsc::Receiver<Shot>,
    descriptions: u8,
    fps: (u32, u32),
    path: Option<PathBuf>,
) -> Result<Shown, String> {
    let mut screen = Screen::new(descriptions, fps, path)?;
    while let Some(shot) = shots.blocking_recv() {
        screen.take(shot)?;
    }
    screen.finish()
}

impl Screen {
    fn new(descriptions: u8, fps: (u32, u32), path: Option<PathBuf>) -> Result<Screen, String> {
        let chain = |_| {
            Ok(Chain {
                decoder: Decoder::new()?,
                broken: true,
            })
        };
        let chains: Result<_, mdc::codec::CodecError> = (0..descriptions).map(chain).collect();
        Ok(Screen {
            chains: chains.map_err(|error| error.to_string())?,
            path,
            file: None,
            fps,
            previous: None,
            gap: 0,
            last_number: None,
            shown: Shown::default(),
        })
    }

    fn take(&mut self, shot: Shot) -> Result<(), String> {
        match shot {
            Shot::Late {
                description,
                idr,
                data,
            } => {
                self.decode(description, idr, &data);
            }
            Shot::Missing { number } => {
                self.note_number(number);
                self.gap += 1;
            }
            Shot::Show {
                number,
                description,
                idr,
                data,
            } => {
                self.note_number(number);
                match self.decode(description, idr, &data) {
                    Some(picture) => self.picture(number, picture)?,
                    None => {
                        self.shown.undecodable += 1;
                        self.gap += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn decode(&mut self, description: u8, idr: bool, data: &[u8]) -> Option<Yuv420> {
        let chain = self.chains.get_mut(usize::from(description))?;
        if chain.broken && !idr {
            return None;
        }
        let decoded = chain.decoder.decode(data);
        chain.broken = !matches!(decoded, Ok(Some(_)));
        let picture = decoded.ok().flatten()?;
        let size = (picture.width(), picture.height());
        // A file has one picture size; a description of another size is not the same video.
        (*self.shown.size.get_or_insert(size) == size).then_some(picture)
    }

    fn note_number(&mut self, number: u32) {
        match self.last_number.replace(number) {
            Some(last) if number == last => self.shown.repeated += 1,
            Some(last) if number < last => self.shown.out_of_order += 1,
            _ => {}
        }
    }

    fn picture(&mut self, number: u32, picture: Yuv420) -> Result<(), String> {
        self.shown.first.get_or_insert_with(Instant::now);
        self.shown.decoded += 1;
        if let Some(stamp) = stamp::read(&picture) {
            self.shown.stamps.note(number, stamp);
        }
        let gap = std::mem::take(&mut self.gap);
        self.shown.substituted += gap as u64;
        if self.path.is_some() {
            self.fill(gap.min(GAP_MAX), &picture)?;
            self.write(&picture)?;
        }
        self.previous = Some(picture);
        Ok(())
    }

    /// Substitutes for `gap` pictures in front of `next`.
    fn fill(&mut self, gap: usize, next: &Yuv420) -> Result<(), String> {
        let previous = self.previous.take().unwrap_or_else(|| next.clone());
        if gap <= INTERPOLATED_MAX {
            return self.bisect(gap, &previous, next);
        }
        (0..gap).try_for_each(|_| self.write(&previous))
    }

    /// The middle one lies half-way, the rest half-way between those.
    fn bisect(&mut self, gap: usize, previous: &Yuv420, next: &Yuv420) -> Result<(), String> {
        if gap == 0 {
            return Ok(());
        }
        let middle = interpolate::between(previous, next);
        let before = (gap - 1) / 2;
        self.bisect(before, previous, &middle)?;
        self.write(&middle)?;
        self.bisect(gap - 1 - before, &middle, next)
    }

    fn write(&mut self, picture: &Yuv420) -> Result<(), String> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let output = BufWriter::new(File::create(path).map_err(failed)?);
                let (width, height) = (picture.width(), picture.height());
                let header = y4m::Header {
                    width,
                    height,
                    fps: self.fps,
                };
                self.file
                    .insert(y4m::Writer::new(output, header).map_err(failed)?)
            }
        };
        file.write(picture).map_err(failed)
    }

    fn finish(mut self) -> Result<Shown, String> {
        let gap = std::mem::take(&mut self.gap);
        if let Some(last) = self.previous.take() {
            self.shown.substituted += gap as u64;
            (0..gap.min(GAP_MAX)).try_for_each(|_| self.write(&last))?;
        }
        if let Some(file) = self.file.take() {
            file.finish().map_err(|error| error.to_string())?;
        }
        Ok(self.shown)
    }
}

#[cfg(test)]
mod tests {
    use mdc::codec::{Encoder, Rate};
    use mdc::{nal, pattern};

    use super::*;

    /// Two chains of stamped pictures, coded, as shots.
    fn shots(frames: u32, missing: &[u32]) -> Vec<Shot> {
        let encoder = || Encoder::new(Rate::Quantizer(26), 15.0).unwrap();
        let mut encoders = [encoder(), encoder()];
        let mut shots = Vec::new();
        for number in 0..frames {
            let encoder = &mut encoders[number as usize % 2];
            let coded = encoder
                .encode(&pattern::picture(number, 320, 180), false)
                .unwrap();
            let mut data = Vec::new();
            if coded.idr {
                nal::push_annex_b(&mut data, encoder.sps());
                nal::push_annex_b(&mut data, encoder.pps());
            }
            for unit in nal::Avcc::new(&coded.avcc, 4) {
                nal::push_annex_b(&mut data, unit);
            }
            let description = (number % 2) as u8;
            shots.push(match missing.contains(&number) {
                true => Shot::Missing { number },
                false => Shot::Show {
                    number,
                    description,
                    idr: coded.idr,
                    data,
                },
            });
        }
        shots
    }

    fn run(shots: Vec<Shot>, path: Option<PathBuf>) -> Shown {
        let mut screen = Screen::new(2, (30, 1), path).unwrap();
        shots
            .into_iter()
            .for_each(|shot| screen.take(shot).unwrap());
        screen.finish().unwrap()
    }

    fn file_frames(path: &PathBuf) -> usize {
        let mut reader =
            y4m::Reader::new(std::io::BufReader::new(File::open(path).unwrap())).unwrap();
        std::iter::from_fn(|| reader.read().unwrap()).count()
    }

    #[test]
    fn every_frame_is_shown_once_and_the_pixels_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.y4m");
        let shown = run(shots(20, &[]), Some(path.clone()));
        assert_eq!((shown.decoded, shown.substituted), (20, 0));
        assert_eq!(shown.stamps.stamps_read, 20);
        assert_eq!(
            (shown.stamps.stamps_lost, shown.stamps.stamps_out_of_order),
            (0, 0)
        );
        assert_eq!(file_frames(&path), 20);
    }

    #[test]
    fn a_missing_last_frame_of_a_chain_is_substituted_and_the_file_keeps_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.y4m");
        let shown = run(shots(20, &[17, 19]), Some(path.clone()));
        assert_eq!((shown.decoded, shown.substituted), (18, 2));
        assert_eq!(shown.stamps.stamps_lost, 1); // 17; nothing follows 19
        assert_eq!(file_frames(&path), 20);
    }

    #[test]
    fn a_chain_that_cannot_be_decoded_is_hidden_until_its_idr() {
        let mut shots = shots(10, &[]);
        for shot in &mut shots {
            if let Shot::Show {
                number: 1, data, ..
            } = shot
            {
                data.truncate(data.len() / 4);
            }
        }
        let shown = run(shots, None);
        assert_eq!(shown.decoded + shown.undecodable, 10);
        assert!(shown.decoded >= 5, "{shown:?}");
    }
}
