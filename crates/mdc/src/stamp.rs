//! The frame number drawn into the picture as black and white blocks, readable after coding.
//!
//! ```text
//!  16 columns x 3 rows, bottom left:   number bits 31..16
//!                                      number bits 15..0
//!                                      CRC-16 of the number
//! ```
//! Losses and order can then be proven from decoded pixels alone.

use crate::picture::Yuv420;

const COLUMNS: usize = 16;
const ROWS: usize = 3;

/// Smallest block side in pixels: one transform block, so that coding keeps its average.
const CELL_MIN: usize = 4;

/// Luma of a 0 and of a 1 (the limits of limited range), and the threshold between them.
const LUMA: [u8; 2] = [16, 235];
const THRESHOLD: u32 = 126;

/// Draws `number`; false if the picture is too small for it (narrower than 64 or lower than 48 pixels).
pub fn draw(picture: &mut Yuv420, number: u32) -> bool {
    let Some(place) = Place::of(picture) else {
        return false;
    };
    let bits = u64::from(number) << 16 | u64::from(crc16(number));
    for (row, column) in cells() {
        let bit = bits >> (COLUMNS * ROWS - 1 - (row * COLUMNS + column)) & 1;
        let (x, y) = (place.x + column * place.cell, place.y + row * place.cell);
        picture.fill_grey(x, y, place.cell, place.cell, LUMA[bit as usize]);
    }
    true
}

/// The number drawn into a picture; None if there is none, or its check fails.
pub fn read(picture: &Yuv420) -> Option<u32> {
    let place = Place::of(picture)?;
    let mut bits = 0u64;
    for (row, column) in cells() {
        let bit = place.middle(picture, row, column) > THRESHOLD;
        bits = bits << 1 | u64::from(bit);
    }
    let number = u32::try_from(bits >> 16).ok()?;
    (u64::from(crc16(number)) == bits & 0xffff).then_some(number)
}

struct Place {
    x: usize,
    y: usize,
    cell: usize,
}

impl Place {
    /// Blocks are a thirty-second of the width, in whole transform blocks.
    fn of(picture: &Yuv420) -> Option<Place> {
        let cell =
            (picture.width() / 32 / 8 * 8).max(if picture.width() < 256 { CELL_MIN } else { 8 });
        let margin = cell / 8 * 8;
        let height = ROWS * cell + margin;
        let wide_enough = picture.width() >= COLUMNS * cell;
        let y = picture.height().checked_sub(height)? / 8 * 8;
        let x = if picture.width() >= COLUMNS * cell + margin {
            margin
        } else {
            0
        };
        (wide_enough && picture.height() >= 48).then_some(Place { x, y, cell })
    }

    /// Average luma of the middle half of a block; its rim is where coding errors gather.
    fn middle(&self, picture: &Yuv420, row: usize, column: usize) -> u32 {
        let (rim, side) = (self.cell / 4, self.cell / 2);
        let (x, y) = (
            self.x + column * self.cell + rim,
            self.y + row * self.cell + rim,
        );
        let rows = (y..y + side).map(|row| row * picture.width() + x);
        let sum: u32 = rows
            .flat_map(|start| &picture.y[start..start + side])
            .map(|p| u32::from(*p))
            .sum();
        sum / (side * side) as u32
    }
}

fn cells() -> impl Iterator<Item = (usize, usize)> {
    (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)))
}

/// CRC-16/CCITT-FALSE: all-black and all-white pictures fail it.
fn crc16(number: u32) -> u16 {
    number.to_be_bytes().iter().fold(0xffff, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_at_every_size() {
        for (width, height) in [
            (64, 48),
            (160, 90),
            (256, 144),
            (320, 180),
            (640, 360),
            (1_280, 720),
            (100, 300),
        ] {
            for number in [0, 1, 29, 65_535, 65_536, 1_000_000, u32::MAX] {
                let mut picture = Yuv420::black(width, height);
                assert!(draw(&mut picture, number), "{width}x{height}");
                assert_eq!(read(&picture), Some(number), "{width}x{height}");
            }
        }
    }

    #[test]
    fn pictures_without_a_stamp_have_no_number() {
        let mut white = Yuv420::black(320, 180);
        assert_eq!(read(&white), None);
        white.y.fill(235);
        assert_eq!(read(&white), None);
        assert!(!draw(&mut Yuv420::black(32, 32), 1));
        assert_eq!(read(&Yuv420::black(32, 32)), None);
    }

    #[test]
    fn a_wrong_block_is_noticed() {
        let mut picture = Yuv420::black(320, 180);
        draw(&mut picture, 12_345);
        let place = Place::of(&picture).unwrap();
        let x = place.x + 5 * place.cell;
        let was = picture.y[place.y * 320 + x];
        picture.fill_grey(x, place.y, place.cell, place.cell, 251 - was);
        assert_eq!(read(&picture), None);
    }

    #[test]
    fn the_check_is_the_published_one() {
        // CRC-16/CCITT-FALSE of the four octets 00 00 00 00.
        assert_eq!(crc16(0), 0x84c0);
    }
}
