//! Walking MP4 boxes (ISO 14496-12 §4.2) in a byte slice.
//!
//! Containers are opened here, one level at a time, and only leaf boxes go to `mp4-atom`: its nested
//! decoding recurses as deep as the file says, and a hostile file says very deep.

use mp4_atom::Atom;

use super::Mp4Error;

/// One box: its four-character type and its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Box<'a> {
    pub(super) kind: [u8; 4],
    pub(super) body: &'a [u8],
}

/// The boxes in `bytes`, in order; stops after the first that does not fit.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<Box<'_>, Mp4Error>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = split_first(rest);
        rest = split.as_ref().map_or(&[][..], |(_, after)| *after);
        Some(split.map(|(first, _)| first).ok_or(Mp4Error::Truncated))
    })
}

/// The first child of type `kind`; an error names the box if there is none.
pub(super) fn child<'a>(parent: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], Mp4Error> {
    optional(parent, kind)?.ok_or_else(|| Mp4Error::Missing(name(kind)))
}

/// The first child of type `kind`, if there is one.
pub(super) fn optional<'a>(parent: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, Mp4Error> {
    for found in boxes(parent) {
        let found = found?;
        if found.kind == *kind {
            return Ok(Some(found.body));
        }
    }
    Ok(None)
}

/// Decodes the body of a leaf box.
pub(super) fn leaf<A: Atom>(mut body: &[u8]) -> Result<A, Mp4Error> {
    A::decode_body(&mut body).map_err(|e| Mp4Error::Box(A::KIND.to_string(), e.to_string()))
}

/// Decodes the child leaf box of type `A`.
pub(super) fn leaf_child<A: Atom>(parent: &[u8]) -> Result<A, Mp4Error> {
    leaf(child(parent, A::KIND.as_ref())?)
}

/// Decodes the child leaf box of type `A`, if there is one.
pub(super) fn leaf_optional<A: Atom>(parent: &[u8]) -> Result<Option<A>, Mp4Error> {
    optional(parent, A::KIND.as_ref())?.map(leaf).transpose()
}

/// A box type for messages.
pub(super) fn name(kind: &[u8; 4]) -> String {
    String::from_utf8_lossy(kind).into_owned()
}

fn split_first(bytes: &[u8]) -> Option<(Box<'_>, &[u8])> {
    let size = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
    let kind = *bytes.get(4..)?.first_chunk::<4>()?;
    let (header, whole) = match size {
        0 => (8, bytes.len()),
        1 => (
            16,
            usize::try_from(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)).ok()?,
        ),
        _ => (8, usize::try_from(size).ok()?),
    };
    let (this, after) = bytes.split_at_checked(whole)?;
    Some((
        Box {
            kind,
            body: this.get(header..)?,
        },
        after,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_all_three_forms_are_understood() {
        let mut file = vec![0, 0, 0, 9, b'a', b'b', b'c', b'd', 7];
        file.extend([
            0, 0, 0, 1, b'l', b'o', b'n', b'g', 0, 0, 0, 0, 0, 0, 0, 17, 8,
        ]);
        file.extend([0, 0, 0, 0, b'r', b'e', b's', b't', 9, 9]);
        let found: Vec<_> = boxes(&file)
            .map(|b| b.unwrap())
            .map(|b| (name(&b.kind), b.body))
            .collect();
        let expected = [("abcd", &[7][..]), ("long", &[8]), ("rest", &[9, 9])];
        assert_eq!(found, expected.map(|(kind, body)| (kind.to_string(), body)));
    }

    #[test]
    fn a_box_larger_than_its_parent_or_smaller_than_its_header_is_an_error() {
        for size in [4u8, 7, 10] {
            let file = [0, 0, 0, size, b'a', b'b', b'c', b'd', 7];
            assert!(boxes(&file).last().unwrap().is_err(), "size {size}");
        }
    }
}
