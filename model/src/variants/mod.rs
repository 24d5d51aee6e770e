//! The variants: ways to hand devices over that are in use, were proposed, or should be used.
//!
//! A variant is two tables of rows and a list of preconditions that it does not judge: data, walked
//! by the same two roles. So the same checker asks the same properties of each, over the same
//! kernel.

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
    /// What scenarios call it.
    pub id: &'static str,
    /// How the new program comes to life.
    pub mode: Mode,
    /// Whether it is one that a VMM should use.
    pub is_ours: bool,
    /// The only kernel that it is for, where it needs one of its own.
    pub kernel: Option<&'static str>,
    /// What must translate the devices' DMA.
    pub dma: Dma,
    /// What it is, in a sentence.
    pub sentence: &'static str,
    /// What it mirrors.
    pub source: &'static str,
    /// Its tables, and the preconditions that it does not judge.
    pub protocol: fn() -> Protocol,
    /// Properties that it does not set out to keep, each with what its users are told instead.
    pub unpromised: &'static [(&'static str, &'static str)],
}

/// By its name and mode.
pub fn find(id: &str, mode: Mode) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.id == id && variant.mode == mode)
}

impl Protocol {
    /// The protocol of a variant.
    pub fn of(variant: &Variant) -> Self {
        (variant.protocol)()
    }
}

impl Variant {
    /// Whether it is for virtual machines of this kind.
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
    sentence: "the guest stops before its state is cut, probes have no effect, the commit is \
               acknowledged and can be revoked, \
               the old process is fenced off, and a way back takes everything back",
    source: "this project",
    protocol: || Protocol::safe(Mode::Transfer),
    unpromised: &[],
};

/// All of them.
pub const VARIANTS: &[Variant] = &[
    SAFE,
    Variant { mode: Mode::Exec, protocol: || Protocol::safe(Mode::Exec), ..SAFE },
    Variant {
        id: "safe-early",
        sentence: "as safe, but the new process adopts everything while the guest still runs, so \
                   that the blackout takes as \
                   many calls with a hundred mappings as with one; called off where the virtual \
                   machine changes in between",
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
