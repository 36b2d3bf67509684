//! The place in a LOC record (RFC 1876 §2).

/// Octets of the data.
pub(crate) const LENGTH: usize = 16;
/// Where the equator and the prime meridian are on the scale of angles.
pub(crate) const ANGLE_ZERO: u32 = 1 << 31;
/// Thousandths of arc seconds in a degree.
pub(crate) const DEGREE: u32 = 3_600_000;
/// Centimetres from the lowest altitude to the reference spheroid.
pub(crate) const ALTITUDE_ZERO: i64 = 100_000 * 100;

/// A place, in the units of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// Mantissa and exponent of the diameter in centimetres.
    pub(crate) size: u8,
    /// Likewise the horizontal precision.
    pub(crate) horizontal: u8,
    /// Likewise the vertical precision.
    pub(crate) vertical: u8,
    /// Thousandths of arc seconds, north from [`ANGLE_ZERO`].
    pub(crate) latitude: u32,
    /// Likewise, east.
    pub(crate) longitude: u32,
    /// Centimetres above [`ALTITUDE_ZERO`] below the spheroid.
    pub(crate) altitude: u32,
}

impl Location {
    /// Reads version 0; other versions have no known shape.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (&[0, size, horizontal, vertical], rest) = data.split_first_chunk::<4>()? else {
            return None;
        };
        let (numbers, _) = rest.as_chunks::<4>();
        let &[latitude, longitude, altitude, ..] = numbers else {
            return None;
        };
        Some(Self {
            size,
            horizontal,
            vertical,
            latitude: u32::from_be_bytes(latitude),
            longitude: u32::from_be_bytes(longitude),
            altitude: u32::from_be_bytes(altitude),
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend([0, self.size, self.horizontal, self.vertical]);
        for number in [self.latitude, self.longitude, self.altitude] {
            out.extend(number.to_be_bytes());
        }
    }
}

/// True if the data starts with a place on earth.
pub(crate) fn is_well_formed(data: &[u8]) -> bool {
    let Some(place) = Location::read(data) else {
        return false;
    };
    let decimal = |octet: u8| octet == 0 || matches!((octet >> 4, octet & 15), (1..=9, 0..=9));
    decimal(place.size)
        && decimal(place.horizontal)
        && decimal(place.vertical)
        && place.latitude.abs_diff(ANGLE_ZERO) <= 90 * DEGREE
        && place.longitude.abs_diff(ANGLE_ZERO) <= 180 * DEGREE
}
