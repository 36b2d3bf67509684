//! `[[override]]`: networks routed by hand, disjoint and with an end.

use std::ops::Range;

use toml::de::DeValue;

use crate::finding::Findings;
use crate::subnet::Subnet;
use crate::tree::{self, Table, Value};
use crate::world::{Override, World, region_ids};

/// An override that ends within this many seconds is remarked on.
const UNTIL_WARNING_SECONDS: u64 = 14 * DAY_SECONDS;
const DAY_SECONDS: u64 = 86_400;
pub(super) fn read_overrides(
    root: &mut Table<'_, '_>,
    world: &mut World,
    now: u64,
    findings: &mut Findings<'_>,
) {
    let Some(value) = root.optional("override") else {
        return;
    };
    let Some(items) = value.get_ref().as_array() else {
        let message = format!(
            "`override` must be written [[override]], not {}",
            tree::kind(value)
        );
        findings.error(&value.span(), message);
        return;
    };
    let mut seen: Vec<(Subnet, usize)> = Vec::new();
    for item in items.iter() {
        let Some(mut table) = Table::of("[[override]]".to_owned(), item, findings) else {
            continue;
        };
        let (line, _) = findings.place(item.span().start);
        let mut nets = Vec::new();
        if table.required("net", findings).is_some() {
            for (text, place) in table.texts("net", findings) {
                if let Some(net) = override_net(text, &place, world.ecs, &seen, findings) {
                    seen.push((net, line));
                    nets.push(net);
                }
            }
        }
        let order = match table.required("order", findings) {
            Some(_) => table.texts("order", findings),
            None => Vec::new(),
        };
        let order = region_ids("order", order, &world.regions, findings, |_, _, _| ());
        if table
            .required("why", findings)
            .is_some_and(|why| why.get_ref().as_str() == Some(""))
        {
            findings.error(
                table.place(),
                "`why` is empty: an override needs its reason",
            );
        }
        let why = table.text("why", findings).unwrap_or_default().to_owned();
        let until = table
            .optional("until")
            .and_then(|value| until(value, now, findings));
        if order.is_empty() {
            findings.error(table.place(), "[[override]] names no region to go to");
        }
        world.overrides.push(Override {
            nets,
            order,
            why,
            until,
            line,
        });
        table.finish(findings);
    }
}

fn override_net(
    text: &str,
    place: &Range<usize>,
    ecs: (u8, u8),
    seen: &[(Subnet, usize)],
    findings: &mut Findings<'_>,
) -> Option<Subnet> {
    let net = match text.parse::<Subnet>() {
        Ok(net) => net,
        Err(error) => {
            findings.error(place, format!("`net`: {error}"));
            return None;
        }
    };
    let normal = net.normalized();
    if normal != net {
        let hint = format!("the network is {normal}");
        findings.error_with_hint(
            place,
            format!("`net` {text} has bits set past its length"),
            hint,
        );
        return None;
    }
    let finest = if net.address.is_ipv4() { ecs.0 } else { ecs.1 };
    if net.len > finest {
        let message = format!("`net` {text} is finer than the map's ECS length /{finest}");
        findings.error_with_hint(
            place,
            message,
            "resolvers never say more of a client than that",
        );
        return None;
    }
    if let Some((other, line)) = seen.iter().find(|(other, _)| overlap(*other, net)) {
        let message = format!("`net` {text} overlaps {other} of the override in line {line}");
        findings.error_with_hint(
            place,
            message,
            "which one wins would be arbitrary: make them disjoint",
        );
        return None;
    }
    Some(net)
}

/// Whether one of two normalized networks lies in the other.
fn overlap(a: Subnet, b: Subnet) -> bool {
    let len = a.len.min(b.len);
    let cut = |net: Subnet| Subnet { len, ..net }.normalized();
    a.address.is_ipv4() == b.address.is_ipv4() && cut(a) == cut(b)
}

/// The last day of an override, still good on that day (UTC).
fn until(value: &Value<'_>, now: u64, findings: &mut Findings<'_>) -> Option<String> {
    let date = match value.get_ref() {
        DeValue::Datetime(datetime) => datetime.date.map(|d| (d.year.into(), d.month, d.day)),
        DeValue::String(text) => date(text),
        _ => None,
    };
    let Some((year, month, day)) = date else {
        findings.error(&value.span(), "`until` must be a date such as 2026-12-01");
        return None;
    };
    let end = (days_since_1970(year, month, day) + 1) * DAY_SECONDS;
    let text = format!("{year:04}-{month:02}-{day:02}");
    if now >= end {
        let hint = "remove it, or give it a later date";
        findings.error_with_hint(&value.span(), format!("the override ended on {text}"), hint);
    } else if end - now <= UNTIL_WARNING_SECONDS {
        let days = (end - now).div_ceil(DAY_SECONDS);
        findings.warning(
            &value.span(),
            format!("the override ends in {days} days, after {text}"),
            None,
        );
    }
    Some(text)
}

fn date(text: &str) -> Option<(u64, u8, u8)> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let date = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    ((1970..=9999).contains(&date.0) && (1..=12).contains(&date.1) && (1..=31).contains(&date.2))
        .then_some(date)
}

/// Days from 1970-01-01, by counting leap days; years before 1970 count as 1970.
fn days_since_1970(year: u64, month: u8, day: u8) -> u64 {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let years = year.saturating_sub(1970);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let leap_days = (1970..year).filter(|y| leap(*y)).count() as u64;
    let before = BEFORE_MONTH
        .get(usize::from(month).saturating_sub(1))
        .copied()
        .unwrap_or(0);
    let this_year = u64::from(month > 2 && leap(year));
    years * 365 + leap_days + before + this_year + u64::from(day).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_days_as_the_calendar_does() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2026, 11, 20) * DAY_SECONDS, 1_795_132_800);
    }
}
