//! How busy the devices are that steps walk through, and what waiting for each other costs: the lane bubble.

use models::DevicesStatus;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, CounterVec, IntCounter, Opts};

use super::families::registered;
use super::of_model;
use crate::app::ModelCard;

/// Every family that is read from `status`.
pub(super) fn gather(status: &DevicesStatus, card: &ModelCard) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = of_model(card)?;
    let seconds = |name: &str, help: &str| registered(&registry, CounterVec::new(Opts::new(name, help), &["device"])?);
    let busy = seconds("tandem_device_busy_seconds_total", "Time in which the device computed.")?;
    let idle = seconds(
        "tandem_device_idle_seconds_total",
        "Time in which the device waited although a step was under way: the lane bubble.",
    )?;
    for device in &status.devices {
        let labels = [&*device.name];
        busy.get_metric_with_label_values(&labels)?
            .inc_by(device.busy.as_secs_f64());
        idle.get_metric_with_label_values(&labels)?
            .inc_by(device.idle.as_secs_f64());
    }
    let together = Opts::new(
        "tandem_devices_together_seconds_total",
        "Time in which two or more devices computed at once.",
    );
    registered(&registry, Counter::with_opts(together)?)?.inc_by(status.together.as_secs_f64());
    let builds = Opts::new(
        "tandem_devices_builds_total",
        "Times that the devices were opened and their weights loaded.",
    );
    registered(&registry, IntCounter::with_opts(builds)?)?.inc_by(status.builds);
    Ok(registry.gather())
}
