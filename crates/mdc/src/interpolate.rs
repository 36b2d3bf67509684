//! A picture for a lost frame, from its two neighbours: block motion along straight lines.
//!
//! For each 16 x 16 block of the missing picture, the symmetric motion (as far back as forth) under
//! which its neighbours agree best is searched; where none does, both are blended.

use crate::picture::Yuv420;

/// Side of a block, in pixels.
const BLOCK: usize = 16;
/// Farthest motion searched, in pixels per frame and direction.
const REACH: isize = 12;
/// Mean difference per sampled pixel above which motion is not believed (nor is it when the
/// difference is more than a quarter of what standing still gives).
const TRUST: u32 = 14;
/// Difference a moving match must gain over standing still, per sampled pixel.
const STILLNESS: u32 = 1;

/// The picture half-way between `previous` and `next`. Pictures of different size: `previous` again.
pub fn between(previous: &Yuv420, next: &Yuv420) -> Yuv420 {
    if !previous.same_size(next) {
        return previous.clone();
    }
    let mut out = blend(previous, next);
    for y in (0..out.height()).step_by(BLOCK) {
        for x in (0..out.width()).step_by(BLOCK) {
            if let Some(motion) = search(previous, next, x, y) {
                compensate(&mut out, previous, next, (x, y), motion);
            }
        }
    }
    out
}

/// The plain average of both pictures; of different sizes: `a` again.
pub fn blend(a: &Yuv420, b: &Yuv420) -> Yuv420 {
    if !a.same_size(b) {
        return a.clone();
    }
    let mut out = a.clone();
    for (plane, other) in [(&mut out.y, &b.y), (&mut out.u, &b.u), (&mut out.v, &b.v)] {
        plane
            .iter_mut()
            .zip(other)
            .for_each(|(a, b)| *a = average(*a, *b));
    }
    out
}

/// The best motion of the block at (x, y) of all within reach.
/// None: standing still (the blend already is that), or nothing matches.
fn search(previous: &Yuv420, next: &Yuv420, x: usize, y: usize) -> Option<(isize, isize)> {
    let still = difference(previous, next, x, y, (0, 0), u32::MAX)?;
    let samples = samples(previous, x, y);
    if still <= samples * STILLNESS {
        return None;
    }
    let mut best = (still - samples * STILLNESS, (0, 0));
    for motion in (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dx, dy))) {
        if let Some(found) = difference(previous, next, x, y, motion, best.0)
            && found < best.0
        {
            best = (found, motion);
        }
    }
    let believable = best.0 <= samples * TRUST && best.0 <= still / 4;
    (best.1 != (0, 0) && believable).then_some(best.1)
}

/// Sum of absolute luma differences over every second pixel of every second row, between the block
/// moved back in `previous` and forth in `next`; None if it leaves the picture. Stops above `limit`.
fn difference(
    previous: &Yuv420,
    next: &Yuv420,
    x: usize,
    y: usize,
    (dx, dy): (isize, isize),
    limit: u32,
) -> Option<u32> {
    let stride = previous.width();
    let (width, height) = block_size(previous, x, y);
    let (bx, by) = moved(previous, (x, y), (width, height), (-dx, -dy))?;
    let (fx, fy) = moved(previous, (x, y), (width, height), (dx, dy))?;
    let mut sum = 0;
    for row in (0..height).step_by(2) {
        let back = &previous.y[(by + row) * stride + bx..][..width];
        let forth = &next.y[(fy + row) * stride + fx..][..width];
        sum += back
            .iter()
            .zip(forth)
            .step_by(2)
            .map(|(a, b)| u32::from(a.abs_diff(*b)))
            .sum::<u32>();
        if sum > limit {
            break;
        }
    }
    Some(sum)
}

fn compensate(
    out: &mut Yuv420,
    previous: &Yuv420,
    next: &Yuv420,
    (x, y): (usize, usize),
    motion: (isize, isize),
) {
    let size = block_size(previous, x, y);
    let back = moved(previous, (x, y), size, (-motion.0, -motion.1));
    let forth = moved(previous, (x, y), size, motion);
    let (Some(back), Some(forth)) = (back, forth) else {
        return;
    };
    let stride = previous.width();
    let plane = |out: &mut [u8], a: &[u8], b: &[u8], scale: usize| {
        let stride = stride / scale;
        let at = |(x, y): (usize, usize), row: usize| (y / scale + row) * stride + x / scale;
        for row in 0..size.1 / scale {
            let width = size.0 / scale;
            let (to, from_a, from_b) = (at((x, y), row), at(back, row), at(forth, row));
            let sources = a[from_a..from_a + width]
                .iter()
                .zip(&b[from_b..from_b + width]);
            out[to..to + width]
                .iter_mut()
                .zip(sources)
                .for_each(|(o, (a, b))| *o = average(*a, *b));
        }
    };
    plane(&mut out.y, &previous.y, &next.y, 1);
    plane(&mut out.u, &previous.u, &next.u, 2);
    plane(&mut out.v, &previous.v, &next.v, 2);
}

/// Size of the block at (x, y), smaller at the right and lower edges; always even.
fn block_size(picture: &Yuv420, x: usize, y: usize) -> (usize, usize) {
    (
        BLOCK.min(picture.width() - x),
        BLOCK.min(picture.height() - y),
    )
}

fn samples(picture: &Yuv420, x: usize, y: usize) -> u32 {
    let (width, height) = block_size(picture, x, y);
    (width.div_ceil(2) * height.div_ceil(2)) as u32
}

/// The block's position after a motion; None outside the picture.
fn moved(
    picture: &Yuv420,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
    (dx, dy): (isize, isize),
) -> Option<(usize, usize)> {
    let (x, y) = (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?);
    (x + width <= picture.width() && y + height <= picture.height()).then_some((x, y))
}

fn average(a: u8, b: u8) -> u8 {
    (u16::from(a) + u16::from(b)).div_ceil(2) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern;
    use crate::picture::psnr_y;

    /// A triangle wave with a period of 256, 0 to 64.
    fn wave(phase: usize) -> usize {
        (phase % 256).min(256 - phase % 256) / 2
    }

    /// A textured picture moved by (dx, dy).
    fn texture(dx: usize, dy: usize) -> Yuv420 {
        let mut picture = Yuv420::black(128, 96);
        for y in 0..96 {
            for x in 0..128 {
                let (a, b) = (x + 64 - dx, y + 64 - dy);
                picture.y[y * 128 + x] =
                    (wave(a * 9 + b * 4) + wave(b * 11 + 512 - a * 3) + wave(a * b / 16)) as u8;
            }
        }
        picture
    }

    #[test]
    fn a_moving_texture_is_found_where_a_blend_is_a_blur() {
        let (previous, missing, next) = (texture(0, 0), texture(4, 3), texture(8, 6));
        // Into blocks at the rim something may have moved from outside; look at the others.
        let inner = |picture: &Yuv420| {
            let rows = (16..80).flat_map(|y| picture.y[y * 128 + 16..y * 128 + 112].to_vec());
            Yuv420::from_planes(96, 64, rows.collect(), vec![0; 1_536], vec![0; 1_536]).unwrap()
        };
        let psnr = |picture: Yuv420| psnr_y(&inner(&picture), &inner(&missing)).unwrap();
        let (moved, blended) = (
            psnr(between(&previous, &next)),
            psnr(blend(&previous, &next)),
        );
        assert!(
            moved > blended + 10.0,
            "motion {moved:.1} dB, blend {blended:.1} dB"
        );
    }

    #[test]
    fn a_moving_scene_is_interpolated_better_than_held_or_blended() {
        let (mut motion, mut hold, mut blended) = (0.0, 0.0, 0.0);
        for k in 1..40 {
            let [previous, missing, next] = [k - 1, k, k + 1].map(|k| pattern::scene(k, 320, 180));
            motion += psnr_y(&between(&previous, &next), &missing).unwrap() / 39.0;
            blended += psnr_y(&blend(&previous, &next), &missing).unwrap() / 39.0;
            hold += psnr_y(&previous, &missing).unwrap() / 39.0;
        }
        let figures = format!("motion {motion:.1} dB, blend {blended:.1} dB, hold {hold:.1} dB");
        assert!(motion > blended + 2.0 && blended > hold, "{figures}");
    }

    #[test]
    fn equal_neighbours_give_themselves() {
        let picture = texture(2, 2);
        assert_eq!(between(&picture, &picture), picture);
    }

    #[test]
    fn odd_sizes_and_different_sizes_do_no_harm() {
        let small = pattern::picture(1, 18, 22);
        assert!(between(&small, &pattern::picture(2, 18, 22)).same_size(&small));
        assert_eq!(between(&small, &Yuv420::black(64, 64)), small);
        assert_eq!(
            between(&Yuv420::black(0, 0), &Yuv420::black(0, 0)),
            Yuv420::black(0, 0)
        );
    }
}
