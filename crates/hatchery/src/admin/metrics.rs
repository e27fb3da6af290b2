//! What a snapshot is as Prometheus text.

use std::fmt;

use hatchery_control::{Histogram, SlotMeasures, Snapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What is said of the text: the format that it is in.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics, as text.
pub(super) fn render(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// One look at the server.
#[derive(Debug)]
struct Scrape(Snapshot);

/// Labels of one metric.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let Snapshot { status, counts, slots, master_resident } = &self.0;
        page.counter("hatchery_connections", "Connections accepted.", counts.connections)?;
        page.counter("hatchery_requests", "Requests begun.", counts.requests)?;
        page.counters("hatchery_responses", "Responses by class of status.", "class", &counts.responses)?;
        page.histogram(
            "hatchery_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            &counts.latency,
        )?;
        page.histogram(
            "hatchery_loop_step_seconds",
            "Time that event loops were at work before they came by again.",
            &counts.steps,
        )?;
        page.counter("hatchery_connections_moved", "Connections that came from another process.", counts.moved)?;
        page.counter("hatchery_connections_not_taken", "Connections from another process refused.", counts.refused)?;
        page.counter("hatchery_handler_panics", "Handlers that panicked.", counts.panics)?;
        page.counters(
            "hatchery_limited",
            "Connections closed, streams reset, or requests refused, by the limit that was reached.",
            "limit",
            &counts.limits,
        )?;
        page.counters(
            "hatchery_worker_restarts",
            "Workers replaced outside of operations, by the cause.",
            "cause",
            &counts.restarts,
        )?;
        page.counters(
            "hatchery_companion_restarts",
            "Job servers and sidecars replaced outside of operations, by the cause.",
            "cause",
            &counts.companion_restarts,
        )?;
        page.gauge("hatchery_generation", "The generation that serves.", status.generation.into())?;
        page.gauge("hatchery_ready", "Whether connections are accepted.", u64::from(status.readiness().is_ok()))?;
        page.gauge("hatchery_predecessors", "Older generations that drain.", status.predecessors.len() as u64)?;
        page.states("hatchery_state", "What the serving master is about.", "state", &STATES, &word(&status.state))?;
        let operation = status.operation.map_or_else(|| "none".to_owned(), |operation| word(&operation));
        page.states("hatchery_operation", "What goes on.", "operation", &OPERATIONS, &operation)?;
        if let Some(resident) = master_resident {
            page.gauge("hatchery_master_resident_bytes", "The master's resident memory.", *resident)?;
        }
        self.listeners(&mut page)?;
        let workers: Vec<(String, &SlotMeasures)> =
            slots.iter().filter(|slot| slot.name.is_none()).map(|slot| (slot.slot.to_string(), slot)).collect();
        each_worker(&mut page, &workers)?;
        page.labelled("hatchery_companion_resident_bytes", "Resident memory of job servers and sidecars.", || {
            let named = slots.iter().filter_map(|slot| Some((slot.name.as_deref()?, slot.resident)));
            named.map(|(name, resident)| (vec![("name", name)], resident)).collect()
        })
    }
}

impl Scrape {
    fn listeners(&self, page: &mut Page<'_>) -> fmt::Result {
        let listeners = &self.0.status.listeners;
        page.labelled("hatchery_accept_queue_length", "Connections that wait to be accepted.", || {
            let told = listeners.iter().filter_map(|it| Some((it.address.as_str(), it.queued?)));
            told.map(|(address, queued)| (vec![("address", address)], queued.into())).collect()
        })?;
        page.labelled("hatchery_accept_queue_limit", "Connections that may wait, a queue.", || {
            let limits = listeners.iter().map(|it| (it.address.as_str(), it.backlog));
            limits.map(|(address, backlog)| (vec![("address", address)], backlog.into())).collect()
        })
    }
}

/// A metric of each worker: its name, its meaning, and where it stands.
type Column = (&'static str, &'static str, fn(&SlotMeasures) -> u64);

fn each_worker(page: &mut Page<'_>, workers: &[(String, &SlotMeasures)]) -> fmt::Result {
    let counters: [Column; 3] = [
        ("hatchery_worker_connections", "Connections accepted in a worker's place.", |slot| slot.accepted),
        ("hatchery_worker_requests", "Requests begun in a worker's place.", |slot| slot.requests),
        ("hatchery_worker_connections_moved", "Connections that came to a worker's place.", |slot| slot.moved),
    ];
    for (name, help, read) in counters {
        let mut family = page.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (slot, measures) in workers {
            one_counter(&mut family, &vec![("slot", slot.as_str())], read(measures))?;
        }
    }
    let help = "Responses of a worker's place by class of status.";
    let mut family = page.0.encode_descriptor("hatchery_worker_responses", help, None, MetricType::Counter)?;
    for (slot, measures) in workers {
        for (class, count) in &measures.responses {
            one_counter(&mut family, &vec![("slot", slot.as_str()), ("class", class.as_str())], *count)?;
        }
    }
    let (name, help) = ("hatchery_worker_request_duration_seconds", "The same in a worker's place.");
    let mut family = page.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (slot, measures) in workers {
        one_histogram(family.encode_family(&vec![("slot", slot.as_str())])?, &measures.latency)?;
    }
    let gauges: [Column; 4] = [
        ("hatchery_worker_processes", "Processes in a worker's place, those that drain too.", |slot| slot.processes),
        ("hatchery_worker_open_connections", "Connections that are open.", |slot| slot.connections),
        ("hatchery_worker_requests_in_flight", "Requests that are being answered.", |slot| slot.in_flight),
        ("hatchery_worker_resident_bytes", "Resident memory.", |slot| slot.resident),
    ];
    for (name, help, read) in gauges {
        page.labelled(name, help, || {
            workers.iter().map(|(slot, measures)| (vec![("slot", slot.as_str())], read(measures))).collect()
        })?;
    }
    let help = "For how long the loop has not come by; 0 while it waits.";
    let mut family = page.0.encode_descriptor("hatchery_worker_loop_lag_seconds", help, None, MetricType::Gauge)?;
    for (slot, measures) in workers {
        let labels: Labels<'_> = vec![("slot", slot.as_str())];
        family.encode_family(&labels)?.encode_gauge(&measures.lag_seconds)?;
    }
    Ok(())
}

const STATES: [&str; 7] = ["starting", "serving", "degraded", "resting", "dormant", "lame-duck", "draining"];
const OPERATIONS: [&str; 5] = ["none", "reload", "upgrade", "scale", "stop"];

/// The name of a unit variant, as it is in the JSON.
fn word(value: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(value).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned()
}

/// The text on its way.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&signed(value))
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        counts: &std::collections::BTreeMap<String, u64>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            one_counter(&mut family, &vec![(label, value.as_str())], *count)?;
        }
        Ok(())
    }

    fn labelled<'a>(&mut self, name: &str, help: &str, values: impl FnOnce() -> Vec<(Labels<'a>, u64)>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values() {
            family.encode_family(&labels)?.encode_gauge(&signed(value))?;
        }
        Ok(())
    }

    /// One gauge for each thing that can be: 1 for the one that is.
    fn states(&mut self, name: &str, help: &str, label: &'static str, all: &[&str], now: &str) -> fmt::Result {
        self.labelled(name, help, || all.iter().map(|it| (vec![(label, *it)], u64::from(*it == now))).collect())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        one_histogram(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, histogram)
    }
}

fn one_histogram(mut metric: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets.iter().copied()).collect();
    let count = histogram.buckets.iter().sum();
    metric.encode_histogram::<NoLabelSet>(histogram.sum, count, &buckets, None)
}

fn one_counter(family: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
