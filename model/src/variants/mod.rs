//! Variants of the protocol: those of QEMU, that of RFC V1, and those that a VMM should use.
//!
//! A variant is data: two protocol tables and a list of preconditions that it does not check. The
//! same two roles execute every variant, so that one checker evaluates the same properties of each
//! on the same simulated kernel.

pub mod defects;
mod edit;
pub mod mutants;
mod qemu;
mod rfc_v1;
mod type1;

use crate::protocol::{Mode, Protocol};
use crate::vm::Dma;
pub use edit::{Change, Edit};

/// A variant in one of its modes.
#[derive(Debug)]
pub struct Variant {
    /// The name in scenarios.
    pub id: &'static str,
    /// The way in which the new program starts: as a new process, or by `execve`.
    pub mode: Mode,
    /// True if a VMM should use this variant.
    pub is_ours: bool,
    /// The only simulated kernel that supports the variant, if it needs a special one.
    pub kernel: Option<&'static str>,
    /// The interface that maps the devices' DMA: iommufds or type1 containers.
    pub dma: Dma,
    /// A summary of the variant, in a sentence.
    pub sentence: &'static str,
    /// The implementation that the variant mirrors.
    pub source: &'static str,
    /// Returns the tables, and the preconditions that the variant does not check.
    pub protocol: fn() -> Protocol,
    /// Properties that the variant does not promise, each with the documented limit.
    pub unpromised: &'static [(&'static str, &'static str)],
}

/// Returns the variant with this name and mode.
pub fn find(id: &str, mode: Mode) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.id == id && variant.mode == mode)
}

impl Protocol {
    /// Returns the protocol of a variant.
    pub fn of(variant: &Variant) -> Self {
        (variant.protocol)()
    }
}

impl Variant {
    /// Returns true if the variant supports this mode and kind of DMA translation.
    pub fn is_for(&self, mode: Mode, dma: Dma) -> bool {
        (self.mode, self.dma) == (mode, dma)
    }
}

const SAFE: Variant = Variant {
    id: "safe",
    mode: Mode::Transfer,
    is_ours: true,
    kernel: None,
    dma: Dma::Iommufd,
    sentence: "the guest stops before the snapshot, probes have no side effects, the commit is \
               acknowledged and can be revoked, the old process is fenced off, and rollback \
               reclaims everything",
    source: "this project",
    protocol: || Protocol::safe(Mode::Transfer),
    unpromised: &[],
};

/// Every variant in each of its modes.
pub const VARIANTS: &[Variant] = &[
    SAFE,
    Variant { mode: Mode::Exec, protocol: || Protocol::safe(Mode::Exec), ..SAFE },
    Variant {
        id: "safe-early",
        sentence: "as safe, but the new process adopts everything while the guest still runs, so \
                   that the number of calls in the blackout does not depend on the number of \
                   mappings; cancelled if the VM changes in between",
        protocol: Protocol::safe_early,
        ..SAFE
    },
    qemu::TRANSFER_10_1,
    qemu::TRANSFER,
    qemu::RETURN_PATH,
    qemu::EXEC,
    rfc_v1::EXEC,
    type1::TRANSFER,
    type1::EXEC,
];
