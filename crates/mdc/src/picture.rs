//! Pictures in planar YUV 4:2:0, eight bits, and how far two of them are apart.

/// A picture: a luma plane and two chroma planes of half its width and height, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yuv420 {
    width: usize,
    height: usize,
    /// Luma, `width * height` octets.
    pub y: Vec<u8>,
    /// Blue difference, a quarter as many.
    pub u: Vec<u8>,
    /// Red difference, a quarter as many.
    pub v: Vec<u8>,
}

impl Yuv420 {
    /// A black picture (limited range: luma 16); odd sizes are rounded down to even ones.
    pub fn black(width: usize, height: usize) -> Yuv420 {
        let (width, height) = (width & !1, height & !1);
        let chroma = width / 2 * (height / 2);
        Yuv420 {
            width,
            height,
            y: vec![16; width * height],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }

    /// A picture from its planes; None if a size is odd or does not match its plane.
    pub fn from_planes(
        width: usize,
        height: usize,
        y: Vec<u8>,
        u: Vec<u8>,
        v: Vec<u8>,
    ) -> Option<Yuv420> {
        let luma = width.checked_mul(height)?;
        let even = width.is_multiple_of(2) && height.is_multiple_of(2);
        let whole = y.len() == luma && u.len() == luma / 4 && v.len() == luma / 4;
        (even && whole).then_some(Yuv420 {
            width,
            height,
            y,
            u,
            v,
        })
    }

    /// Width in pixels, even.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, even.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Whether both have the same width and height.
    pub fn same_size(&self, other: &Yuv420) -> bool {
        (self.width, self.height) == (other.width, other.height)
    }

    /// Fills a rectangle of the luma plane, clipped to the picture, and its chroma with neutral grey.
    pub fn fill_grey(&mut self, x: usize, y: usize, width: usize, height: usize, luma: u8) {
        self.fill(x, y, width, height, [luma, 128, 128]);
    }

    /// Fills a rectangle, clipped to the picture, with a colour (luma, blue and red difference).
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        if x >= right || y >= bottom {
            return;
        }
        for row in y..bottom {
            self.y[row * self.width + x..row * self.width + right].fill(colour[0]);
        }
        let half = self.width / 2;
        for row in y / 2..bottom.div_ceil(2) {
            let span = row * half + x / 2..row * half + right.div_ceil(2);
            self.u[span.clone()].fill(colour[1]);
            self.v[span].fill(colour[2]);
        }
    }
}

/// Peak signal-to-noise ratio of two luma planes in decibels; infinite for equal ones, None for
/// different sizes.
pub fn psnr_y(a: &Yuv420, b: &Yuv420) -> Option<f64> {
    if !a.same_size(b) || a.y.is_empty() {
        return None;
    }
    let squares: u64 =
        a.y.iter()
            .zip(&b.y)
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum();
    let mean = squares as f64 / a.y.len() as f64;
    Some(if squares == 0 {
        f64::INFINITY
    } else {
        10.0 * (255.0 * 255.0 / mean).log10()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_of_a_known_difference_is_the_textbook_value() {
        let a = Yuv420::black(32, 16);
        let mut b = a.clone();
        assert_eq!(psnr_y(&a, &b), Some(f64::INFINITY));
        b.y.iter_mut().for_each(|p| *p += 1);
        assert!((psnr_y(&a, &b).unwrap() - 48.1308).abs() < 1e-3); // 20 log10 255
        assert_eq!(psnr_y(&a, &Yuv420::black(16, 16)), None);
    }

    #[test]
    fn planes_must_fit_the_size() {
        assert!(Yuv420::from_planes(4, 2, vec![0; 8], vec![0; 2], vec![0; 2]).is_some());
        assert!(Yuv420::from_planes(4, 2, vec![0; 7], vec![0; 2], vec![0; 2]).is_none());
        assert!(Yuv420::from_planes(3, 2, vec![0; 6], vec![0; 1], vec![0; 1]).is_none());
    }

    #[test]
    fn filling_is_clipped() {
        let mut picture = Yuv420::black(8, 8);
        picture.fill_grey(6, 6, 100, 100, 200);
        picture.fill_grey(60, 60, 1, 1, 200);
        assert_eq!(picture.y.iter().filter(|p| **p == 200).count(), 4);
    }
}
