//! Log records: a line for people, or a JSON object for machines, on standard error.
//!
//! A record made while a request is answered names that request, its trace and its tenant,
//! whoever made it.

use std::{io::IsTerminal as _, panic};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    filter::{ParseError, filter_fn},
    fmt::{
        self, FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
        time::{FormatTime as _, SystemTime},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, Telemetry},
    context,
};

/// The filter that a configuration asks for.
///
/// # Errors
/// When it is not one.
pub fn filter(config: &Telemetry) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(&config.filter)
}

/// Starts writing log records to standard error. A second start changes nothing.
pub fn start(config: &Telemetry) {
    // Reading the configuration has refused what is not a filter.
    let filter = filter(config).unwrap_or_else(|_| EnvFilter::new("info"));
    let records = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(discreet));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Only the first subscriber of a process can be installed.
    let installed = match config.format {
        LogFormat::Text => {
            let terminal = std::io::stderr().is_terminal();
            let colours = terminal && std::env::var_os("NO_COLOR").is_none();
            let format = Format::default().with_target(false).with_ansi(colours);
            let lines = lines.with_ansi(colours).event_format(Text(format));
            records.with(lines).try_init()
        }
        LogFormat::Json => records.with(lines.event_format(Json)).try_init(),
    };
    if installed.is_ok() {
        panic::set_hook(Box::new(panicked));
    }
}

/// Below info, libraries tell what they read and write: header lines, URLs, values of SQL. No
/// directive of the configuration lets them.
fn discreet(record: &Metadata<'_>) -> bool {
    let target = record.target();
    *record.level() <= Level::INFO || target == "writ" || target.starts_with("writ::")
}

/// A panic is a log record like any other, with the request it happened in.
fn panicked(info: &panic::PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let why = info.payload_as_str().unwrap_or_default();
    tracing::error!(location, why, "panicked");
}

/// Lines for people.
struct Text(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        // What is quoted from outside must not look like a record of its own.
        writer.write_str(&line.trim_end_matches('\n').replace('\n', "\\n"))?;
        if let Some(request) = context::current() {
            write!(writer, " request_id={}", request.id().as_str())?;
            if let Some(tenant) = request.tenant() {
                write!(writer, " tenant={tenant}")?;
            }
        }
        writer.write_char('\n')
    }
}

/// One JSON object a line.
struct Json;

/// The members of a line; those without a value are left out.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let request = context::current();
        let request = request.as_deref();
        let line = Line {
            timestamp: &timestamp,
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            message: fields.0.remove("message"),
            request_id: request.map(|request| request.id().as_str()),
            trace_id: request.map(|request| request.trace().id()),
            tenant: request.and_then(context::Request::tenant),
            fields: fields.0,
        };
        let line = serde_json::to_string(&line).map_err(|_| std::fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Collects the fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
