//! Numbers for people.

/// `19.9 GB` for 19 900 000 000: decimal units, as model files are sold.
pub(crate) fn bytes(count: u64) -> String {
    scaled(
        count,
        &[(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"), (1, "B")],
    )
}

/// `1.5 B` for 1 500 000 000.
pub(crate) fn parameters(count: u64) -> String {
    scaled(count, &[(1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K"), (1, "")])
}

/// `16 384` with a thin gap every three digits, from five digits on.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

fn scaled(count: u64, units: &[(u64, &str)]) -> String {
    for (size, unit) in units {
        if count >= *size && *size > 1 {
            return format!("{:.1} {unit}", count as f64 / *size as f64);
        }
    }
    let unit = units.last().map_or("", |(_, unit)| unit);
    format!("{count} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_say_them() {
        assert_eq!(bytes(19_900_000_000), "19.9 GB");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(parameters(3_900_000), "3.9 M");
        assert_eq!(parameters(7), "7");
        assert_eq!(grouped(8192), "8192");
        assert_eq!(grouped(131_072), "131 072");
    }
}
