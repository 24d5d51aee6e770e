//! `handoff doctor`: checks whether this host supports a handoff; changes nothing.

use super::output::StyleArgument;
use super::{Exit, Failure};
use crate::report::doctor::Doctor;
use crate::report::{Body, text};
use handoff_real_backend::doctor::{Machine, Request, examine};
use handoff_real_backend::sysfs::Bdf;
use std::io::Write;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Device to hand over, such as 0000:00:05.0; repeat for more
    #[arg(long, value_name = "BDF")]
    device: Vec<Bdf>,

    /// Guest memory in MiB, which RLIMIT_MEMLOCK must allow
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    ram: u64,

    #[command(flatten)]
    style: StyleArgument,
}

pub(super) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Exit, Failure> {
    let request = Request {
        devices: arguments.device.clone(),
        ram_bytes: arguments.ram.saturating_mul(1 << 20),
    };
    let report = Doctor::new(examine(&Machine::here(), &request));
    let exit = if report.failed == 0 { Exit::Good } else { Exit::Bad };
    let mut output = arguments.style.to(out);
    output.text(|width| text::doctor(&report, width))?;
    output.end(Body::Doctor(report), exit)
}
