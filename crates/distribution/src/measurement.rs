//! Measurement lines: how long a packet takes between a client's prefix and a region. CSV with the header
//! `ts,prefix,region,rtt_us,loss,n,source`; edges append, players report, the mapmaker reads.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::Path;

/// The first line of every file of measurements.
pub const HEADER: &str = "ts,prefix,region,rtt_us,loss,n,source";

/// The names in [`HEADER`], in order.
const FIELDS: [&str; 7] = ["ts", "prefix", "region", "rtt_us", "loss", "n", "source"];

/// A file of garbage should not become a list of a million findings.
const FINDINGS_MAX: usize = 100;

/// A measurement takes about eighty octets.
const LINE_MAX: u64 = 4096;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// When, in Unix seconds.
    pub ts: u64,
    /// The client's network, `198.51.100.0/24` or `2001:db8::/56`, without host bits.
    pub prefix: String,
    /// The region's name.
    pub region: String,
    /// Round-trip time in microseconds; of no meaning when everything was lost.
    pub rtt_us: u32,
    /// Share lost, 0 to 1.
    pub loss: f32,
    /// How many samples stand behind the line; at least 1.
    pub n: u32,
    /// Who measured, such as `player` or an edge's name.
    pub source: String,
}

/// Something wrong with a line; the line is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: error: {message}")]
pub struct Finding {
    /// The file, as named by the caller.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column of the field in characters, from 1 (exact unless a field before it is quoted).
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// What a file holds: the good lines, and what is wrong with the others (the first hundred).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    /// The good lines, in order.
    pub measurements: Vec<Measurement>,
    /// What was left out and why.
    pub findings: Vec<Finding>,
    /// How many lines were left out, also past the first hundred.
    pub refused: usize,
}

/// Reads measurements; a bad line costs only itself (so a quoted field may not span lines). A missing header is fine, a
/// wrong one is a finding.
pub fn parse(file: &str, input: impl Read) -> Parsed {
    let mut parsed = Parsed::default();
    let mut input = io::BufReader::new(input);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match next_line(&mut input, &mut line) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                parsed.refuse(file, number, 1, format!("cannot be read on: {error}"));
                break;
            }
        }
        let read = match std::str::from_utf8(&line).map(str::trim_ascii_end) {
            Ok("") => continue,
            Ok(HEADER) if number == 1 => continue,
            _ if line.len() as u64 >= LINE_MAX => Err((1, "the line is too long".to_owned())),
            Ok(text) => fields(text).and_then(|record| {
                measurement(&record).map_err(|(field, message)| match record.get(0) {
                    Some(ts) if number == 1 && ts.parse::<u64>().is_err() => {
                        (1, format!("the header is not `{HEADER}`"))
                    }
                    _ => (column(&record, field), message),
                })
            }),
            Err(_) => Err((1, "the line is not UTF-8".to_owned())),
        };
        match read {
            Ok(measurement) => parsed.measurements.push(measurement),
            Err((column, message)) => parsed.refuse(file, number, column, message),
        }
    }
    parsed
}

/// Reads one line of at most [`LINE_MAX`] octets; what is longer is skipped up to its end. False at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    input.by_ref().take(LINE_MAX).read_until(b'\n', line)?;
    if line.len() as u64 == LINE_MAX && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(!line.is_empty())
}

/// The fields of one line; the error has a column.
fn fields(line: &str) -> Result<csv::StringRecord, (usize, String)> {
    if !line.contains('"') {
        return Ok(line.split(',').collect::<Vec<_>>().into());
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(line.len())
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(_) => Ok(record),
        Err(error) => Err((1, error.to_string())),
    }
}

impl Parsed {
    fn refuse(&mut self, file: &str, line: usize, column: usize, message: String) {
        self.refused += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                file: file.to_owned(),
                line,
                column,
                message,
            });
        }
    }
}

/// One line without its line end.
pub fn write_line(measurement: &Measurement) -> String {
    let Measurement {
        ts,
        prefix,
        region,
        rtt_us,
        loss,
        n,
        source,
    } = measurement;
    let (prefix, region, source) = (quoted(prefix), quoted(region), quoted(source));
    format!("{ts},{prefix},{region},{rtt_us},{loss},{n},{source}")
}

/// Appends lines to a file, which gets its header when it is new. Several processes may append to the same file; a line
/// cut off by a crash spoils only itself.
///
/// # Errors
/// When the file cannot be opened, locked or written.
pub fn append(path: &Path, measurements: &[Measurement]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    file.lock()?;
    let mut text = match last_octet(&mut file)? {
        None => format!("{HEADER}\n"),
        Some(b'\n') => String::new(),
        Some(_) => "\n".to_owned(),
    };
    for measurement in measurements {
        text.push_str(&write_line(measurement));
        text.push('\n');
    }
    file.write_all(text.as_bytes())
}

fn last_octet(file: &mut File) -> io::Result<Option<u8>> {
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut octet = [0];
    file.read_exact(&mut octet)?;
    Ok(octet.first().copied())
}

/// The measurement, or the index of the first bad field and what is wrong with it.
fn measurement(record: &csv::StringRecord) -> Result<Measurement, (usize, String)> {
    if record.len() != FIELDS.len() {
        let message = format!("{} fields instead of {}", record.len(), FIELDS.len());
        return Err((0, message));
    }
    let field = |index: usize| record.get(index).unwrap_or("").trim();
    let named = |index: usize| {
        let text = field(index);
        let name = FIELDS.get(index).copied().unwrap_or_default();
        if text.is_empty() {
            Err((index, format!("`{name}` is empty")))
        } else {
            Ok(text.to_owned())
        }
    };
    let ts = field(0)
        .parse()
        .map_err(|_| (0, format!("`ts` is not Unix seconds: {:?}", field(0))))?;
    let prefix = named(1)?;
    check_prefix(&prefix).map_err(|message| (1, message))?;
    let region = named(2)?;
    let rtt_us = field(3)
        .parse()
        .map_err(|_| (3, format!("`rtt_us` is not microseconds: {:?}", field(3))))?;
    let loss: f32 = field(4)
        .parse()
        .ok()
        .filter(|loss| (0.0..=1.0).contains(loss))
        .ok_or_else(|| {
            (
                4,
                format!("`loss` is not a share from 0 to 1: {:?}", field(4)),
            )
        })?;
    let n = field(5)
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| (5, format!("`n` is not a number of samples: {:?}", field(5))))?;
    let source = named(6)?;
    Ok(Measurement {
        ts,
        prefix,
        region,
        rtt_us,
        loss,
        n,
        source,
    })
}

fn check_prefix(text: &str) -> Result<(), String> {
    let wrong = || format!("`prefix` is not ADDRESS/LENGTH: {text:?}");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let length: u32 = length.parse().map_err(|_| wrong())?;
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    if length > width {
        return Err(wrong());
    }
    if bits.checked_shl(length).unwrap_or(0) != 0 {
        return Err(format!("`prefix` has host bits: {text:?}"));
    }
    Ok(())
}

fn column(record: &csv::StringRecord, field: usize) -> usize {
    record
        .iter()
        .take(field)
        .map(|text| text.chars().count() + 1)
        .sum::<usize>()
        + 1
}

/// CSV quoting (RFC 4180 §2) where it is needed; control characters become spaces, so that one measurement stays one line.
fn quoted(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    if line.contains([',', '"']) {
        format!("\"{}\"", line.replace('"', "\"\""))
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Measurement {
        Measurement {
            ts: 1_795_000_000,
            prefix: "198.51.100.0/24".into(),
            region: "eu-west".into(),
            rtt_us: 12_345,
            loss: 0.25,
            n: 4,
            source: "player".into(),
        }
    }

    fn check(line: &str, column: usize, message: &str) {
        let parsed = parse("m.csv", format!("{HEADER}\n{line}\n").as_bytes());
        let [finding] = parsed.findings.as_slice() else {
            panic!("{line}: {parsed:?}")
        };
        assert_eq!((finding.line, finding.column), (2, column), "{finding}");
        assert!(finding.message.contains(message), "{finding}");
        assert_eq!((parsed.measurements.len(), parsed.refused), (0, 1));
    }

    #[test]
    fn a_bad_field_is_named_by_line_and_column() {
        check("x,198.51.100.0/24,eu,1,0,1,s", 1, "`ts`");
        check("1,198.51.100.1/24,eu,1,0,1,s", 3, "host bits");
        check("1,198.51.100.0/33,eu,1,0,1,s", 3, "ADDRESS/LENGTH");
        check("1,2001:db8::1/64,eu,1,0,1,s", 3, "host bits");
        check("1,198.51.100.0/24,,1,0,1,s", 19, "`region` is empty");
        check("1,198.51.100.0/24,eu,-1,0,1,s", 22, "`rtt_us`");
        check("1,198.51.100.0/24,eu,1,NaN,1,s", 24, "`loss`");
        check("1,198.51.100.0/24,eu,1,1.5,1,s", 24, "`loss`");
        check("1,198.51.100.0/24,eu,1,0,0,s", 26, "`n`");
        check("1,198.51.100.0/24,eu,1,0,1", 1, "6 fields instead of 7");
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        let good = write_line(&sample());
        let text = format!("{HEADER}\n{good}\nrubbish\n\n{good}\n");
        let parsed = parse("m.csv", text.as_bytes());
        assert_eq!(parsed.measurements, [sample(), sample()]);
        assert_eq!(
            parsed.findings.iter().map(|f| f.line).collect::<Vec<_>>(),
            [3]
        );
        let long = "9".repeat(10_000);
        let parsed = parse("m.csv", format!("{long}\n1,\"198\n{good}\n").as_bytes());
        assert_eq!(
            (parsed.measurements.len(), parsed.refused),
            (1, 2),
            "too long, quote left open"
        );
        let bytes = [HEADER.as_bytes(), b"\n\xff\xfe\n", good.as_bytes()].concat();
        let parsed = parse("m.csv", &bytes[..]);
        assert_eq!((parsed.measurements.len(), parsed.refused), (1, 1));
        assert!(
            parsed.findings[0]
                .to_string()
                .contains("m.csv:2:1: error: the line is not UTF-8")
        );
    }

    #[test]
    fn a_wrong_header_is_a_finding_and_a_missing_one_is_not() {
        let good = write_line(&sample());
        let parsed = parse("m.csv", format!("time,net\n{good}\n").as_bytes());
        assert_eq!((parsed.measurements.len(), parsed.refused), (1, 1));
        assert!(parsed.findings[0].message.contains(HEADER));
        assert_eq!(parse("m.csv", good.as_bytes()).measurements.len(), 1);
    }

    #[test]
    fn appending_writes_one_header_and_mends_a_cut_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        append(&path, &[sample()]).unwrap();
        append(&path, &[sample(), sample()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| *line == HEADER).count(), 1);
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        append(&path, &[sample()]).unwrap();
        let parsed = parse("m.csv", File::open(&path).unwrap());
        assert_eq!((parsed.measurements.len(), parsed.refused), (3, 1));
    }

    #[test]
    fn writers_at_the_same_time_keep_their_lines_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..25).for_each(|_| append(&path, &[sample()]).unwrap()));
            }
        });
        let parsed = parse("m.csv", File::open(&path).unwrap());
        assert_eq!((parsed.measurements.len(), parsed.refused), (200, 0));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            (ts, v4, length) in (any::<u64>(), any::<u32>(), 0u32..=32),
            (rtt_us, n, loss) in (any::<u32>(), 1u32.., 0f32..=1.0),
            region in "[ -~]{0,8}[a-z\",#]",
            source in "[a-z\",]{1,9}",
        ) {
            let network = v4.checked_shr(32 - length).unwrap_or(0).checked_shl(32 - length).unwrap_or(0);
            let measurement = Measurement {
                ts,
                prefix: format!("{}/{length}", std::net::Ipv4Addr::from_bits(network)),
                region: region.trim().to_owned(),
                rtt_us,
                loss,
                n,
                source,
            };
            let parsed = parse("m", write_line(&measurement).as_bytes());
            prop_assert_eq!(&parsed.findings, &[]);
            prop_assert_eq!(parsed.measurements, [measurement]);
        }

        #[test]
        fn any_octets_are_read_without_a_panic(bytes: Vec<u8>) {
            parse("m", &bytes[..]);
        }
    }
}
