//! Zone files (RFC 1035 §5, RFC 2308 §4, RFC 3597): one run reports every finding with its place, and
//! a file with errors gives no zone at all. [`RecordText`] is the way back, from records to text.
//!
//! ```text
//! text ─ lexer ─ reader ─┬─ data (one record) ─ records ─ validate ─ Zone
//!                        ├─ $INCLUDE: another text, from the caller
//!                        └─ $GENERATE: lines made from one
//! ```

mod data;
mod encoding;
mod generate;
mod hints;
mod kept;
mod lexer;
mod location;
mod network;
mod place;
mod reader;
mod records;
mod svcb;
mod text;
mod time;
mod validate;

use std::borrow::Cow;

use crate::name;
use crate::zone::Zone;
pub use kept::{KeptText, read_kept};
pub use place::{Finding, Severity};
use place::{Place, Source};
use reader::Reader;
pub use text::{DataText, RecordText};

/// Gives an included file: the path as written and the name of the including file in, its name and text out, or
/// why it cannot be read.
pub type Open<'o> = dyn FnMut(&str, &str) -> Result<(String, String), String> + 'o;

/// A zone that can be served, and what is odd about its files.
#[derive(Debug)]
pub struct Loaded {
    /// The zone.
    pub zone: Zone,
    /// Findings that are no errors, in the order of the files.
    pub warnings: Vec<Finding>,
}

/// Reads a zone file of class IN that includes no other.
///
/// `origin` is the zone's name as text (the final dot may be missing); without it the owner of the SOA
/// record names the zone.
///
/// # Errors
/// All findings in file order, if one of them is an error; otherwise warnings are left out.
pub fn parse(file_name: &str, text: &str, origin: Option<&str>) -> Result<Zone, Vec<Finding>> {
    read(file_name, text, origin, None).map(|loaded| loaded.zone)
}

/// Reads a zone file as [`parse`] does, and those it includes, which `open` gives.
///
/// # Errors
/// All findings file by file, if one of them is an error.
pub fn parse_with<'o>(
    file_name: &str,
    text: &str,
    origin: Option<&str>,
    open: &'o mut Open<'o>,
) -> Result<Loaded, Vec<Finding>> {
    read(file_name, text, origin, Some(open))
}

fn read<'o>(
    file_name: &str,
    text: &str,
    origin: Option<&str>,
    open: Option<&'o mut Open<'o>>,
) -> Result<Loaded, Vec<Finding>> {
    let apex = origin.map(|origin| name::parse(origin, Some(name::ROOT)));
    let configured = apex.clone().and_then(Result::ok);
    let mut reader = Reader::new(configured.clone(), open);
    reader.sources.push(Source {
        name: file_name.to_owned(),
        text: Cow::Borrowed(text),
        included: None,
    });
    if let (Some(Err(error)), Some(origin)) = (apex, origin) {
        let message = format!("the zone's name `{origin}` is no name: {error}");
        let hint = "correct it where the zone is configured";
        reader.faults.error(Place::START, message, hint);
    }
    reader.file(0, text);
    let Reader {
        records,
        sources,
        mut faults,
        ..
    } = reader;
    let zone = validate::zone(configured, &records, &mut faults);
    match zone.filter(|_| !faults.has_errors()) {
        Some(zone) => Ok(Loaded {
            zone,
            warnings: faults.findings(&sources),
        }),
        None => Err(faults.findings(&sources)),
    }
}
