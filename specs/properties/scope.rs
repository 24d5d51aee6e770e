//! Where a property applies: the scenarios in which its predicate could fail at all.

use super::Case;
use crate::scenario::expectation::Due;
use handoff_model::protocol::Mode;

/// Where a property can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Always,
    /// Where two processes take part.
    Transfer,
    /// Where the protocol must refuse.
    Refused,
    /// Where it must refuse before anything is changed.
    Misled,
    /// Where it must not happen, and two processes take part.
    Denied,
    /// Where it must happen.
    Possible,
    /// Where anybody is charged for pinned pages.
    Charged,
    /// Where pages that are pinned count in VmPin; also where none can be seen.
    Iommufd,
    /// Where a container maps anything.
    Container,
    /// Where a device raises interrupts.
    Interrupts,
    /// Where the guest runs in KVM, and a device raises interrupts.
    Kvm,
    /// Where there is a device, and memory that it reaches.
    PassedThrough,
}

impl Scope {
    /// Whether it can be asked of a check with this base.
    pub fn covers(self, case: &Case<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Transfer => case.moment.mode == Mode::Transfer,
            Self::Refused => case.moment.due == Due::RefusedBeforeStop,
            Self::Misled => case.moment.due == Due::RefusedBeforeChange,
            Self::Denied => case.moment.mode == Mode::Transfer && case.moment.due != Due::Done,
            Self::Possible => case.moment.due == Due::Done,
            Self::Charged => case.base.page_sets.iter().any(|set| set.account.is_some()),
            Self::Iommufd => {
                let sets = &case.base.page_sets;
                sets.is_empty() || sets.iter().any(|set| set.awaits_address.is_none())
            }
            Self::Container => case.base.page_sets.iter().any(|set| set.awaits_address.is_some()),
            Self::Interrupts => {
                case.base.devices.values().any(|device| !device.interrupts.is_empty())
            }
            Self::Kvm => {
                let mut vectors = case.base.devices.values().flat_map(|device| &device.interrupts);
                vectors.any(|vector| vector.irqfd.is_some())
            }
            Self::PassedThrough => !case.base.devices.is_empty() && !case.base.page_sets.is_empty(),
        }
    }

    /// Why it cannot.
    pub fn words(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::Transfer => "asked only by transfer",
            Self::Refused => "nothing has to be refused before the guest stops",
            Self::Misled => "nothing has to be refused when it has stopped",
            Self::Denied => "nothing has to be refused by another process",
            Self::Possible => "it must not happen",
            Self::Charged => "nobody is charged for pinned pages",
            Self::Iommufd => "what a container pins counts in no VmPin",
            Self::Container => "no container maps anything",
            Self::Interrupts => "no interrupt is armed",
            Self::Kvm => "KVM takes no interrupt",
            Self::PassedThrough => "no device reaches any memory",
        }
    }
}
