//! How many connections the process can hold open: fewer than it has file descriptors, so that refusing a client,
//! reading a file or opening a log never fails for want of one.

/// Descriptors kept for everything that is not a client's connection.
const RESERVE: usize = 64;

/// `wanted`, or what the descriptors allow if that is less, which is then said once.
pub(super) fn bounded(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some(descriptors) = soft_limit(&limits) else {
        return wanted;
    };
    let allowed = descriptors.saturating_sub(RESERVE).max(1);
    if allowed < wanted {
        tracing::warn!(
            wanted,
            allowed,
            descriptors,
            "fewer connections than asked for: raise `ulimit -n`"
        );
    }
    wanted.min(allowed)
}

/// The soft limit on open files; `None` where the system tells none.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             95838                95838                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited  unlimited  files\n"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
