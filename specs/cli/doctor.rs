//! `handoff doctor`: could this host do it? Looks, and changes nothing.

use super::{Exit, Failure, width};
use crate::counterexample::report::wrapped;
use handoff_real_backend::doctor::{Finding, Machine, Request, Status, examine};
use handoff_real_backend::sysfs::Bdf;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A device that shall be handed over, such as 0000:00:05.0; several times for several
    #[arg(long, value_name = "BDF")]
    device: Vec<Bdf>,

    /// Guest memory, in MiB: judges RLIMIT_MEMLOCK
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    ram: u64,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let request = Request {
        devices: arguments.device.clone(),
        ram_bytes: arguments.ram.saturating_mul(1 << 20),
    };
    let findings = examine(&Machine::here(), &request);
    for finding in &findings {
        write_finding(finding, out)?;
    }
    let failed = findings.iter().filter(|finding| finding.status == Status::Fail).count();
    let sum = match failed {
        0 => "This host can do a handoff, as far as can be seen.".to_owned(),
        count => format!("This host cannot do a handoff: {count} findings stand against it."),
    };
    writeln!(out, "{sum}")?;
    Ok(if failed == 0 { Exit::Good } else { Exit::Bad })
}

fn write_finding(finding: &Finding, out: &mut impl Write) -> Result<(), Failure> {
    let status = match finding.status {
        Status::Pass => "PASS",
        Status::Skip => "SKIP",
        Status::Warn => "WARN",
        Status::Fail => "FAIL",
    };
    let text = format!("{}: {}", finding.what, finding.evidence);
    let mut head = status;
    for row in wrapped(&text, width().saturating_sub(6).max(30)) {
        writeln!(out, "{head:4}  {row}")?;
        head = "";
    }
    if let Some(remedy) = &finding.remedy {
        let mut head = "→";
        for row in wrapped(remedy, width().saturating_sub(8).max(30)) {
            writeln!(out, "      {head} {row}")?;
            head = " ";
        }
    }
    Ok(())
}
