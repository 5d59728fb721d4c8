//! The names of devices: `cpu`, `cuda:0`, and how much of their memory may be used: `cpu@8G`.

use std::fmt;
use std::str::FromStr;

/// What kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// This machine's processor.
    Cpu,
    /// The graphics card with this index, as `nvidia-smi` numbers them among the visible ones.
    Cuda(usize),
}

/// A device to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    /// Which.
    pub kind: DeviceKind,
    /// Bytes of its memory to use at most; none: what is free.
    pub memory_max: Option<u64>,
}

/// A device's name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a device: use `cpu` or `cuda:0`, `cuda:1` and so on, each with `@8G` (or another size in M or G) \
     to limit its memory"
)]
pub struct DeviceError {
    found: String,
}

impl DeviceSpec {
    /// The processor without a limit.
    pub const CPU: DeviceSpec = DeviceSpec {
        kind: DeviceKind::Cpu,
        memory_max: None,
    };
}

/// Sizes that `@` takes: binary, as container runtimes read them.
const SUFFIXES: [(&str, u64); 2] = [("G", 1 << 30), ("M", 1 << 20)];

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<DeviceSpec, DeviceError> {
        let error = || DeviceError {
            found: text.chars().take(40).collect(),
        };
        let (name, size) = match text.split_once('@') {
            Some((name, size)) => (name, Some(size)),
            None => (text, None),
        };
        let kind = match name.split_once(':') {
            None if name == "cpu" => DeviceKind::Cpu,
            None if name == "cuda" => DeviceKind::Cuda(0),
            Some(("cuda", index)) if is_number(index) => DeviceKind::Cuda(index.parse().map_err(|_| error())?),
            _ => return Err(error()),
        };
        let memory_max = size.map(|size| bytes(size).ok_or_else(error)).transpose()?;
        Ok(DeviceSpec { kind, memory_max })
    }
}

fn is_number(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = SUFFIXES
        .iter()
        .find_map(|(suffix, unit)| Some((size.strip_suffix(suffix)?, *unit)))?;
    let is_plain = number.len() <= 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|number| is_plain && *number > 0)?;
    number.checked_mul(unit)
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DeviceKind::Cpu => f.write_str("cpu")?,
            DeviceKind::Cuda(index) => write!(f, "cuda:{index}")?,
        }
        let Some(bytes) = self.memory_max else {
            return Ok(());
        };
        let exact = SUFFIXES.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
        match exact {
            Some((suffix, unit)) => write!(f, "@{}{suffix}", bytes / unit),
            None => write!(f, "@{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["cpu", "cpu@8G", "cuda:0", "cuda:12", "cuda:1@12G", "cpu@300M"] {
            let device: DeviceSpec = name.parse().unwrap();
            assert_eq!(device.to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceSpec>().unwrap().to_string(), "cuda:0");
        assert_eq!("cpu@8G".parse::<DeviceSpec>().unwrap().memory_max, Some(8 << 30));
    }

    #[test]
    fn other_names_are_refused_with_what_is_allowed() {
        for name in [
            "",
            "gpu",
            "CPU",
            "cpu:0",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:9999",
            "cpu@",
            "cpu@8",
            "cpu@0G",
            "cpu@-1G",
            "cpu@8T",
            "cpu@8GB",
            "cpu@99999999999G",
            "cuda:0@1.5G",
            " cpu",
        ] {
            let error = name.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(
                error.contains("cuda:0") && error.contains(&format!("{name:?}")),
                "{error}"
            );
        }
    }
}
