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

/// Three digits at least: `7.31`, `42.7`, `250`, `16 384`.
pub(crate) fn digits(number: f64) -> String {
    match number {
        number if number < 9.995 => format!("{number:.2}"),
        number if number < 99.95 => format!("{number:.1}"),
        // Above what a usize holds it becomes the largest, below 0 it becomes 0.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, for people"
        )]
        number => grouped(number.round() as usize),
    }
}

/// `812 us`, `61.2 ms`, `1.61 s`.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{} us", digits(seconds * 1e6)),
        seconds if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        seconds => format!("{} s", digits(seconds)),
    }
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

    #[test]
    fn numbers_keep_three_digits() {
        for (number, expected) in [
            (0.0, "0.00"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (42.71, "42.7"),
            (99.96, "100"),
            (12_345.6, "12 346"),
        ] {
            assert_eq!(digits(number), expected);
        }
        for (seconds, expected) in [
            (0.000_812, "812 us"),
            (0.0612, "61.2 ms"),
            (1.0, "1.00 s"),
            (52.3, "52.3 s"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }
}
