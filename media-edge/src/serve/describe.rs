//! A title as a session description.

use rtsp::locator::{self, Locator};
use rtsp::range::Npt;
use rtsp::sdp::{Description, PAYLOAD_TYPE_FIRST, Stream};

use crate::content::Title;

/// The payload type of a description: the same at every edge, as packets have to be.
pub(super) fn payload_type(description: u8) -> u8 {
    PAYLOAD_TYPE_FIRST + (description % 32)
}

/// What the locator asks for: every description, one, or the default line; `None` if there is no such description.
///
/// The default is one plain line, the first description: standard players set up every line and play one.
pub(super) fn describe(title: &Title, locator: &Locator, repeat: bool) -> Option<Description> {
    let numbers: Vec<u8> = match locator.description {
        Some(number) => vec![number],
        None if locator.grouped => title.descriptions.iter().map(|d| d.index).collect(),
        None => vec![0],
    };
    let streams = numbers
        .into_iter()
        .map(|n| stream(title, n))
        .collect::<Option<Vec<_>>>()?;
    // A title that repeats has no end to announce.
    let duration = if repeat {
        None
    } else {
        title.manifest.duration().ok().map(Npt)
    };
    Some(Description {
        title: title.manifest.name.clone(),
        duration,
        streams,
    })
}

fn stream(title: &Title, number: u8) -> Option<Stream> {
    let index = title.description(number)?;
    let (numerator, denominator) = index.timing.fps();
    let cadence = index.timing.cadence();
    let share = cadence.iter().filter(|owner| **owner == number).count();
    Some(Stream {
        control: locator::control(number),
        payload_type: payload_type(number),
        sps: index.sps.clone(),
        pps: index.pps.clone(),
        frame_rate: reduce(
            numerator.saturating_mul(u32::try_from(share).ok()?),
            denominator.saturating_mul(u32::try_from(cadence.len()).ok()?),
        ),
        kbit_per_second: title.kbit_per_second(number),
    })
}

fn reduce(numerator: u32, denominator: u32) -> (u32, u32) {
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (numerator / a.max(1), denominator / a.max(1))
}
