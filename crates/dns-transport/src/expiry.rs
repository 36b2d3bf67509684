//! When a certificate ends (RFC 5280 §4.1.2.5), for operators: the handshake does not look at the server's own.

/// ASN.1 tags of what is passed on the way, or read.
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The Unix second of `notAfter`; `None` if the octets are no certificate.
pub(crate) fn read(certificate: &[u8]) -> Option<i64> {
    let (whole, _) = take(certificate, SEQUENCE)?;
    let (mut signed, _) = take(whole, SEQUENCE)?;
    if let Some((_, rest)) = take(signed, VERSION) {
        signed = rest;
    }
    // Serial number, algorithm of the signature, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, signed) = take(signed, tag)?;
    }
    let (validity, _) = take(signed, SEQUENCE)?;
    let (_, not_after) = take(validity, UTC_TIME).or_else(|| take(validity, GENERALIZED_TIME))?;
    if let Some((text, _)) = take(not_after, UTC_TIME) {
        let (year, rest) = number(text, 2)?;
        // RFC 5280 §4.1.2.5.1: two digits mean 1950 to 2049.
        return seconds(if year < 50 { 2000 } else { 1900 } + year, rest);
    }
    let (text, _) = take(not_after, GENERALIZED_TIME)?;
    let (year, rest) = number(text, 4)?;
    seconds(year, rest)
}

/// The content of the element in front, if it has this tag, and what follows it.
fn take(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = input.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match head[1] {
        short @ 0..=0x7F => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
            let length = octets
                .iter()
                .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A number of so many digits, and what follows it.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let number = number.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })?;
    Some((number, rest))
}

/// `MMDDHHMMSSZ` of a year.
fn seconds(year: i64, text: &[u8]) -> Option<i64> {
    let (month, rest) = number(text, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    if rest != b"Z" || !(1..=12).contains(&month) {
        return None;
    }
    // Years that begin in March put the leap day last, so that it shifts nothing.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1;
    /// Days from 1 March of year 0 to 1 January 1970.
    const TO_1970: i64 = 719_468;
    Some((((days - TO_1970) * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_notations() {
        // Unix seconds by `date -u -d … +%s`.
        for (year, month, day, expected) in [
            (2000, 2, 29, 951_782_400),
            (1999, 12, 31, 946_598_400),
            (2038, 1, 20, 2_147_558_400),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (2400, 3, 1, 13_574_649_600),
        ] {
            let mut parameters = rcgen::CertificateParams::new(["ns.test".to_owned()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(1990, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(year, month, day);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(
                read(certificate.der()),
                Some(expected),
                "{year}-{month}-{day}"
            );
            for cut in 0..certificate.der().len() {
                assert_eq!(read(&certificate.der()[..cut]), None);
            }
        }
    }

    #[test]
    fn other_octets_do_no_harm() {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(["ns.test".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        for at in 0..certificate.der().len() {
            for octet in [0, 1, 0x30, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = certificate.der().to_vec();
                changed[at] = octet;
                let _ = read(&changed);
            }
        }
    }
}
