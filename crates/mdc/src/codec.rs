//! H.264 encoder and decoder (OpenH264): IPPP, one reference, one slice, an IDR exactly where asked.
//!
//! Single-threaded with scene detection and frame skipping off, so equal pictures give equal bytes and
//! no frame is left out. (With a bit rate OpenH264 remarks on the latter with one line on stderr per
//! encoder; its log level can be lowered only after that. With a constant quantizer it is silent.)

use openh264::encoder::{self, BitRate, EncoderConfig, FrameRate, QpRange, RateControlMode};
use openh264::formats::{YUVSlices, YUVSource};
use openh264::{OpenH264API, Timestamp, decoder};
use thiserror::Error;

use crate::nal;
use crate::picture::Yuv420;

/// Finest quantizer that OpenH264 uses under rate control; it takes 0 as "choose yourself".
pub const QUANTIZER_MIN: u8 = 12;
/// Coarsest quantizer of H.264.
pub const QUANTIZER_MAX: u8 = 51;

/// How many bits to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Bits per second, kept on average.
    Bitrate(u32),
    /// A constant quantizer, [`QUANTIZER_MIN`] (finest) to [`QUANTIZER_MAX`]; others count as the nearest.
    Quantizer(u8),
}

/// One coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// Whether decoding can start here.
    pub idr: bool,
    /// Its NAL units without start codes and without parameter sets, length-prefixed (4 octets).
    pub avcc: Vec<u8>,
}

/// Why coding or decoding failed.
#[derive(Debug, Error)]
pub enum CodecError {
    /// OpenH264 refuses.
    #[error("OpenH264: {0}")]
    OpenH264(#[from] openh264::Error),
    /// A picture of another size than the first.
    #[error("the picture's size changed")]
    SizeChanged,
    /// The encoder gave no picture, no parameter sets, or other ones than before.
    #[error("the encoder {0}")]
    Encoder(&'static str),
    /// The decoder's picture has an odd size or strange planes.
    #[error("the decoded picture has a strange shape")]
    Shape,
}

/// Encodes one chain of pictures.
pub struct Encoder {
    inner: encoder::Encoder,
    size: Option<(usize, usize)>,
    frames_per_second: f64,
    coded: u64,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl Encoder {
    /// An encoder for pictures at `frames_per_second` (of this chain, not of the title).
    pub fn new(rate: Rate, frames_per_second: f64) -> Result<Encoder, CodecError> {
        let config = EncoderConfig::new()
            .skip_frames(false)
            .scene_change_detect(false)
            .background_detection(false)
            .long_term_reference(false)
            .num_threads(1)
            .max_frame_rate(FrameRate::from_hz(frames_per_second as f32));
        let config = match rate {
            Rate::Bitrate(bits) => config
                .rate_control_mode(RateControlMode::Bitrate)
                .bitrate(BitRate::from_bps(bits)),
            Rate::Quantizer(q) => {
                let q = q.clamp(QUANTIZER_MIN, QUANTIZER_MAX);
                let unlimited = BitRate::from_bps(100_000_000);
                // This mode moves the quantizer by the buffer only, within a range that has one value here; it is
                // the one that allows all frames without a remark. (Off would be the plain 26 of its defaults.)
                config
                    .rate_control_mode(RateControlMode::Bufferbased)
                    .bitrate(unlimited)
                    .qp(QpRange::new(q, q))
            }
        };
        let inner = encoder::Encoder::with_api_config(OpenH264API::from_source(), config)?;
        let (sps, pps) = (Vec::new(), Vec::new());
        Ok(Encoder {
            inner,
            size: None,
            frames_per_second,
            coded: 0,
            sps,
            pps,
        })
    }

    /// Codes the next picture, as an IDR if `keyframe` (the first one always is).
    pub fn encode(&mut self, picture: &Yuv420, keyframe: bool) -> Result<Coded, CodecError> {
        let size = (picture.width(), picture.height());
        if *self.size.get_or_insert(size) != size {
            return Err(CodecError::SizeChanged);
        }
        if keyframe && self.coded > 0 {
            self.inner.force_intra_frame();
        }
        let strides = (size.0, size.0 / 2, size.0 / 2);
        let source = YUVSlices::new((&picture.y, &picture.u, &picture.v), size, strides);
        let milliseconds = (self.coded as f64 * 1_000.0 / self.frames_per_second) as u64;
        let stream = self
            .inner
            .encode_at(&source, Timestamp::from_millis(milliseconds))?
            .to_vec();
        self.coded += 1;
        let mut coded = Coded {
            idr: false,
            avcc: Vec::with_capacity(stream.len() + 16),
        };
        for unit in nal::split_annex_b(&stream) {
            match nal::unit_type(unit) {
                nal::TYPE_SPS => keep_same(&mut self.sps, unit)?,
                nal::TYPE_PPS => keep_same(&mut self.pps, unit)?,
                kind => {
                    coded.idr |= kind == nal::TYPE_IDR;
                    nal::push_avcc(&mut coded.avcc, unit);
                }
            }
        }
        if coded.avcc.is_empty() || self.sps.len() < 4 || self.pps.is_empty() {
            return Err(CodecError::Encoder("gave no picture"));
        }
        if keyframe && !coded.idr {
            return Err(CodecError::Encoder("gave no IDR where one was asked for"));
        }
        Ok(coded)
    }

    /// The sequence parameter set; empty before the first picture.
    pub fn sps(&self) -> &[u8] {
        &self.sps
    }

    /// The picture parameter set; empty before the first picture.
    pub fn pps(&self) -> &[u8] {
        &self.pps
    }
}

fn keep_same(known: &mut Vec<u8>, unit: &[u8]) -> Result<(), CodecError> {
    if known.is_empty() {
        known.extend_from_slice(unit);
    }
    if known != unit {
        return Err(CodecError::Encoder("changed its parameter sets"));
    }
    Ok(())
}

/// Decodes one chain of pictures.
pub struct Decoder {
    inner: decoder::Decoder,
}

impl Decoder {
    /// A decoder that waits for an IDR with its parameter sets.
    pub fn new() -> Result<Decoder, CodecError> {
        Ok(Decoder {
            inner: decoder::Decoder::new()?,
        })
    }

    /// Decodes one access unit in Annex B form ([`crate::rtp::AccessUnit::data`]). None: no picture in
    /// it (parameter sets only). After an error start again at an IDR.
    pub fn decode(&mut self, annex_b: &[u8]) -> Result<Option<Yuv420>, CodecError> {
        if annex_b.is_empty() {
            return Ok(None);
        }
        let Some(decoded) = self.inner.decode(annex_b)? else {
            return Ok(None);
        };
        let (width, height) = decoded.dimensions();
        let strides = decoded.strides();
        let plane = |bytes: &[u8], stride: usize, width: usize, height: usize| -> Option<Vec<u8>> {
            let mut out = Vec::with_capacity(width * height);
            for row in 0..height {
                out.extend_from_slice(bytes.get(row * stride..row * stride + width)?);
            }
            Some(out)
        };
        let y = plane(decoded.y(), strides.0, width, height);
        let u = plane(decoded.u(), strides.1, width / 2, height / 2);
        let v = plane(decoded.v(), strides.2, width / 2, height / 2);
        let (Some(y), Some(u), Some(v)) = (y, u, v) else {
            return Err(CodecError::Shape);
        };
        Yuv420::from_planes(width, height, y, u, v)
            .ok_or(CodecError::Shape)
            .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;
    use crate::picture::psnr_y;

    fn annex_b(encoder: &Encoder, coded: &Coded) -> Vec<u8> {
        let mut out = Vec::new();
        let sets = [encoder.sps(), encoder.pps()];
        let sets = sets.into_iter().filter(|_| coded.idr);
        sets.chain(nal::Avcc::new(&coded.avcc, 4))
            .for_each(|unit| nal::push_annex_b(&mut out, unit));
        out
    }

    #[test]
    fn pictures_come_back_one_for_one_and_close_to_the_original() {
        let mut encoder = Encoder::new(Rate::Bitrate(300_000), 15.0).unwrap();
        let mut decoder = Decoder::new().unwrap();
        for k in 0..20 {
            let picture = pattern::picture(k, 320, 180);
            let coded = encoder.encode(&picture, k % 8 == 0).unwrap();
            assert_eq!(coded.idr, k % 8 == 0);
            let back = decoder.decode(&annex_b(&encoder, &coded)).unwrap().unwrap();
            let psnr = psnr_y(&picture, &back).unwrap();
            assert!(psnr > 28.0, "picture {k}: {psnr:.1} dB");
        }
    }

    #[test]
    fn equal_pictures_give_equal_bytes() {
        let run = || {
            let mut encoder = Encoder::new(Rate::Quantizer(30), 15.0).unwrap();
            let code = |k| {
                encoder
                    .encode(&pattern::picture(k, 160, 96), k == 0)
                    .unwrap()
                    .avcc
            };
            (0..6).map(code).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn a_coarser_quantizer_gives_fewer_bytes() {
        let bytes = |q| {
            let mut encoder = Encoder::new(Rate::Quantizer(q), 15.0).unwrap();
            (0..4)
                .map(|k| {
                    encoder
                        .encode(&pattern::picture(k, 160, 96), false)
                        .unwrap()
                        .avcc
                        .len()
                })
                .sum::<usize>()
        };
        assert!(bytes(20) > bytes(30) && bytes(30) > bytes(40));
    }

    #[test]
    fn a_quantizer_out_of_range_counts_as_the_nearest() {
        let code = |q| {
            let mut encoder = Encoder::new(Rate::Quantizer(q), 15.0).unwrap();
            encoder.encode(&pattern::picture(0, 160, 96), true).unwrap()
        };
        assert_eq!(code(0), code(QUANTIZER_MIN));
        assert_eq!(code(255), code(QUANTIZER_MAX));
        assert!(code(QUANTIZER_MIN).avcc.len() > code(QUANTIZER_MIN + 1).avcc.len());
    }

    #[test]
    fn rubbish_is_an_error_or_nothing_and_an_idr_recovers() {
        let mut encoder = Encoder::new(Rate::Quantizer(30), 15.0).unwrap();
        let coded = encoder.encode(&pattern::picture(0, 160, 96), true).unwrap();
        let good = annex_b(&encoder, &coded);
        let mut decoder = Decoder::new().unwrap();
        assert!(!matches!(
            decoder.decode(&[0, 0, 0, 1, 0x65, 1, 2, 3, 4]),
            Ok(Some(_))
        ));
        assert!(matches!(decoder.decode(&[]), Ok(None)));
        assert!(decoder.decode(&good).unwrap().is_some());
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let mut encoder = Encoder::new(Rate::Quantizer(30), 15.0).unwrap();
        encoder.encode(&Yuv420::black(64, 64), true).unwrap();
        assert!(matches!(
            encoder.encode(&Yuv420::black(64, 32), true),
            Err(CodecError::SizeChanged)
        ));
    }
}
