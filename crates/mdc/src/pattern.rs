//! A moving test picture: hills under a sky, a bouncing ball, a clock hand, and the frame number both
//! for people (digits) and for programs (stamp). Integer arithmetic only: the same on every machine.

use crate::picture::Yuv420;
use crate::stamp;

/// Digits as 5 x 7 dots, one row per octet, most significant of five bits on the left.
const DIGITS: [[u8; 7]; 10] = [
    [0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e],
    [0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f],
    [0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e],
    [0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02],
    [0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e],
    [0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
    [0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e],
    [0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c],
];

/// Colours as luma, blue difference, red difference.
const BALL: [u8; 3] = [110, 90, 210];
const PANEL: [u8; 3] = [30, 132, 124];
const INK: [u8; 3] = [225, 120, 134];

/// Frame `number` of the test picture, `width` x `height` pixels (rounded down to even).
pub fn picture(number: u32, width: usize, height: usize) -> Yuv420 {
    let mut picture = scene(number, width, height);
    clock(&mut picture, number);
    digits(&mut picture, number);
    stamp::draw(&mut picture, number);
    picture
}

/// The landscape and the ball without numbers: all that moves steadily.
pub(crate) fn scene(number: u32, width: usize, height: usize) -> Yuv420 {
    let mut picture = Yuv420::black(width, height);
    landscape(&mut picture, number);
    ball(&mut picture, number);
    picture
}

/// A sky that brightens towards the horizon and three rows of hills that pass by, nearer ones faster.
fn landscape(picture: &mut Yuv420, number: u32) {
    let (width, height) = (picture.width(), picture.height());
    let hill = |x: usize, layer: usize| {
        let shift = number as usize * (layer + 1) * width / 640;
        let phase = (x + shift) * 1_024 / width.max(1) * (3 - layer) / 2;
        let level = height * (11 + 3 * layer) / 20;
        let swing = height as i64 / (8 + 3 * layer as i64);
        (level as i64 - sine(phase) * swing / 1_024).max(0) as usize
    };
    let colours = [[120u8, 122, 118], [92, 112, 116], [64, 104, 112]];
    let sky = |y: usize| {
        [
            (105 + 100 * y / height) as u8,
            (158 - 26 * y / height) as u8,
            (108 + 16 * y / height) as u8,
        ]
    };
    for x in 0..width {
        let tops = [hill(x, 0), hill(x, 1), hill(x, 2)];
        for y in 0..height {
            let layer = (0..3).rev().find(|layer| y >= tops[*layer]);
            let [luma, blue, red] = layer.map_or_else(|| sky(y), |layer| colours[layer]);
            picture.y[y * width + x] = luma;
            if x % 2 == 0 && y % 2 == 0 {
                picture.u[y / 2 * (width / 2) + x / 2] = blue;
                picture.v[y / 2 * (width / 2) + x / 2] = red;
            }
        }
    }
}

/// A shaded ball on straight lines between the walls; one crossing takes 96 frames, one fall 64.
fn ball(picture: &mut Yuv420, number: u32) {
    let (width, height) = (picture.width() as i64, picture.height() as i64);
    let radius = (height / 9).max(2);
    let bounce = |period: i64, room: i64| {
        let phase = i64::from(number) % (2 * period);
        radius + room.max(0) * phase.min(2 * period - phase) / period
    };
    let (cx, cy) = (
        bounce(96, width - 2 * radius),
        bounce(64, height * 3 / 4 - 2 * radius),
    );
    for y in (cy - radius).max(0)..(cy + radius).min(height) {
        for x in (cx - radius).max(0)..(cx + radius).min(width) {
            let (dx, dy) = (x - cx, y - cy);
            if dx * dx + dy * dy > radius * radius {
                continue;
            }
            let (lx, ly) = (dx + radius / 3, dy + radius / 3); // lit from the upper left
            let shade = 90 * (lx * lx + ly * ly) / (radius * radius);
            let (x, y) = (x as usize, y as usize);
            picture.y[y * width as usize + x] =
                (i64::from(BALL[0]) + 100 - shade).clamp(16, 235) as u8;
            let chroma = y / 2 * (width as usize / 2) + x / 2;
            picture.u[chroma] = BALL[1];
            picture.v[chroma] = BALL[2];
        }
    }
}

/// A hand that turns once in 60 frames, top right.
fn clock(picture: &mut Yuv420, number: u32) {
    let (width, height) = (picture.width(), picture.height());
    let radius = height / 8;
    let side = (height / 90).max(2);
    if width < 4 * radius {
        return;
    }
    let (cx, cy) = (width - radius - height / 20, radius + height / 20);
    let turn = (number % 60) as usize * 1_024 / 60;
    let at = |length: usize, angle: usize| {
        let x = cx as i64 + sine(angle) * length as i64 / 1_024;
        let y = cy as i64 - sine(angle + 256) * length as i64 / 1_024;
        (x.max(0) as usize, y.max(0) as usize)
    };
    for hour in 0..12 {
        let (x, y) = at(radius, hour * 1_024 / 12);
        picture.fill(x, y, side, side, INK);
    }
    for length in 0..radius * 4 / 5 {
        let (x, y) = at(length, turn);
        picture.fill(x, y, side, side, INK);
    }
}

/// The frame number in six digits on a dark panel, top left.
fn digits(picture: &mut Yuv420, number: u32) {
    let dot = (picture.height() / 60).max(1);
    let (left, top) = (2 * dot, 2 * dot);
    picture.fill(left, top, 38 * dot, 11 * dot, PANEL);
    for place in 0..6u32 {
        let digit = number / 10u32.pow(5 - place) % 10;
        let x = left + (2 + 6 * place as usize) * dot;
        for (row, bits) in DIGITS[digit as usize].iter().enumerate() {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                picture.fill(x + column * dot, top + (2 + row) * dot, dot, dot, INK);
            }
        }
    }
}

/// 1024 times the sine of `angle`, 1024 to the full turn: two parabolas, within 6 % of the sine.
fn sine(angle: usize) -> i64 {
    let half = (angle % 512) as i64;
    let arch = half * (512 - half) / 64;
    if angle % 1_024 < 512 { arch } else { -arch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_carries_its_number_and_differs_from_the_one_before() {
        for k in 0..200 {
            let now = picture(k, 320, 180);
            assert_eq!(stamp::read(&now), Some(k));
            assert_ne!(now, picture(k + 1, 320, 180));
        }
    }

    #[test]
    fn any_size_is_drawn_without_harm() {
        for (width, height) in [
            (0, 0),
            (2, 2),
            (3, 5),
            (16, 16),
            (64, 48),
            (1_920, 1_080),
            (40, 600),
        ] {
            let drawn = picture(u32::MAX, width, height);
            assert_eq!((drawn.width(), drawn.height()), (width & !1, height & !1));
        }
    }

    #[test]
    fn the_sine_has_its_extremes_in_the_right_places() {
        assert_eq!(
            [0, 256, 512, 768, 1_024].map(sine),
            [0, 1_024, 0, -1_024, 0]
        );
    }
}
