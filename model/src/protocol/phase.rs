//! The phases of both roles.
//!
//! A phase is a list of calls with one purpose. What follows when it is done, and what must be
//! undone when it fails, stands in the [table](super), not here.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An enum whose values have names and sentences. Those under `lab` exist only with that feature.
macro_rules! named {
    (
        $(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])* $phase:ident,)* }
        $(lab { $($(#[doc = $lab_text:literal])* $lab:ident,)* })?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[doc = $text])* $phase,)*
            $($(#[cfg(feature = "lab")] $(#[doc = $lab_text])* $lab,)*)?
        }

        impl $name {
            /// All of them, in the order of their definition.
            pub const ALL: &[Self] = &[
                $(Self::$phase,)*
                $($(#[cfg(feature = "lab")] Self::$lab,)*)?
            ];

            /// What it is for, in a sentence.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Self::$phase => concat!($($text),*).trim_ascii(),)*
                    $($(
                        #[cfg(feature = "lab")]
                        Self::$lab => concat!($($lab_text),*).trim_ascii(),
                    )*)?
                }
            }

            $(
                /// Returns true if only other protocols than `safe` have it.
                #[cfg(feature = "lab")]
                pub(crate) fn is_foreign(self) -> bool {
                    matches!(self, $(Self::$lab)|*)
                }
            )?
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

pub(crate) use named;

named! {
    /// Phases of the old process.
    OutPhase {
        /// Judge every precondition of this side; touch nothing.
        Preflight,
        /// Tell the new process what taking over needs.
        Offer,
        /// Wait until the new process says that it could.
        AwaitReady,
        /// Stop the guest.
        Stop,
        /// Take the irqfds away: from here on interrupts wait in their eventfds.
        Park,
        /// Save vCPUs and emulated devices.
        Save,
        /// Cut the state: write the inventory into the stream.
        Snapshot,
        /// Hand every descriptor over, each exactly once.
        SendFds,
        /// Where the state was cut early: wait until the new process has adopted it.
        AwaitAdopted,
        /// Where the state was cut early: say that it is the same now that the guest is stopped.
        Confirm,
        /// Wait until the new process has everything in place.
        AwaitPrepared,
        /// Allow the new process to change things.
        Commit,
        /// Wait for the point of no return.
        AwaitCommitted,
        /// Let go of everything and end: this process is fenced off.
        Release,
        /// Let descriptors be inherited.
        OpenWindow,
        /// Become the new program.
        Exec,
        /// Make it impossible for the new process to commit from now on.
        Revoke,
        /// Look whether it had committed before.
        Drain,
        /// Tell the new process to leave, and make it.
        TerminatePeer,
        /// Wait until the new process is gone.
        AwaitGone,
        /// Take the ownership of every page set back.
        ReclaimOwnership,
        /// Let no descriptor be inherited any more.
        CloseWindow,
        /// Give the irqfds back: what waits goes to the guest.
        Unpark,
        /// Let the guest run again.
        Resume,
        /// Close the channel.
        Disconnect,
        /// Nothing more to do.
        End,
    }
    lab {
        /// Not in `safe`: take the ownership, to see whether every mapping can change its process.
        ProveOwnership,
        /// Not in `safe`: let go of the addresses of every mapping of a container.
        ReleaseVaddr,
        /// Not in `safe`: give those that were let go of their addresses again.
        RestoreVaddr,
        /// Not in `safe`: the same of whole sections of memory, whatever is mapped of them.
        RestoreWhole,
        /// Not in `safe`: die, where any addresses were let go of.
        AbortRestoring,
        /// Not in `safe`: close the virtual machine of KVM, and the guest in it.
        CloseVm,
        /// Not in `safe`: call it done, and keep everything.
        Completed,
        /// Not in `safe`: die of an assertion.
        Abort,
    }
}

named! {
    /// Phases of the new process.
    InPhase {
        /// Wait for an offer.
        AwaitOffer,
        /// Judge every precondition of this side; touch nothing.
        Check,
        /// Say that this process could take over.
        Ready,
        /// Receive every descriptor.
        AwaitDescriptors,
        /// Read and check the stream.
        ReadStream,
        /// Let no descriptor be inherited any more.
        CloseWindow,
        /// Compare the inventory with what the kernel says, without changing anything.
        Verify,
        /// Map guest RAM.
        MapRam,
        /// Make a virtual machine of KVM.
        MakeVm,
        /// Where the state was cut early: say that it is adopted.
        Adopted,
        /// Where the state was cut early: learn whether it is the same now that the guest is
        /// stopped.
        AwaitConfirm,
        /// Build the stopped guest from its saved state.
        Load,
        /// Say that everything is in place.
        Prepared,
        /// Wait for the permission to change things.
        AwaitCommit,
        /// Take the ownership of every page set.
        ChangeOwner,
        /// Pass the point of no return: from here on the guest is this process's.
        Committed,
        /// The commit was not taken: say so, and learn whether the old process lives.
        ResolveInDoubt,
        /// Take the interrupts by irqfds: what waits goes to the guest.
        AssignIrqfds,
        /// Let the guest run.
        Run,
        /// Let go of what only the handoff needed.
        Cleanup,
        /// Tell the old process why not.
        Refuse,
        /// End; everything that was received is closed.
        Leave,
        /// Let descriptors be inherited, for the way back.
        OpenWindow,
        /// Become the old program again.
        Fallback,
        /// Nothing more to do.
        End,
    }
    lab {
        /// Not in `safe`: take the ownership as a probe, long before the commit.
        ProbeByChange,
        /// Not in `safe`: take the ownership, and say where each block of RAM is now.
        TakeAddresses,
        /// Not in `safe`: give every mapping of a container its address in this process, one by
        /// one.
        MapVaddr,
        /// Not in `safe`: the same for the first container only.
        MapVaddrOfFirst,
        /// Not in `safe`: close every container but the first, as if it were a second descriptor of
        /// that.
        MergeContainers,
        /// Not in `safe`: map all RAM a second time.
        MapAgain,
        /// Not in `safe`: map all RAM, as for a fresh guest.
        MapFresh,
        /// Not in `safe`: unmap all RAM and map it anew.
        Remap,
        /// Not in `safe`: attach every device to the first address space.
        AttachToFirst,
        /// Not in `safe`: reset or detach the devices while setting them up.
        ResetDevices,
        /// Not in `safe`: make everything that was received non-blocking, for whoever has it.
        SetNonblocking,
        /// Not in `safe`: read the eventfds empty while setting interrupts up.
        DrainEvents,
        /// Not in `safe`: initialise guest RAM, as for a fresh guest.
        WipeRam,
        /// Not in `safe`: unwind a failure by detaching and destroying.
        Unwind,
    }
}

/// A phase of either role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RolePhase {
    /// Of the old process.
    Old(OutPhase),
    /// Of the new process.
    New(InPhase),
}

impl From<OutPhase> for RolePhase {
    fn from(phase: OutPhase) -> Self {
        Self::Old(phase)
    }
}

impl From<InPhase> for RolePhase {
    fn from(phase: InPhase) -> Self {
        Self::New(phase)
    }
}

impl fmt::Display for RolePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(phase) => write!(f, "old {phase}"),
            Self::New(phase) => write!(f, "new {phase}"),
        }
    }
}
