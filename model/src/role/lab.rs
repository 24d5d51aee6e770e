//! Calls that both roles make in other protocols only.

use crate::abi::call::{Call, ContainerCall};
use crate::abi::ids::{Fd, ObjectId, Va};
use crate::vm::{Mapping, Memory, Vm};

/// The calls that give every mapping of a container its address in the process that has this
/// inventory. `through`: the container on which that is said of those of each; of none nothing is.
pub(crate) fn new_addresses(vm: &Vm, through: impl Fn(u16) -> Option<Fd>) -> Vec<Call> {
    let address = |memory| match memory {
        Memory::RamAddress { block, offset_bytes } => {
            let block = vm.ram.get(usize::from(block))?;
            Some(Va(block.va.0.checked_add(offset_bytes)?))
        }
        Memory::RamFile { .. } | Memory::Bar { .. } => None,
    };
    let call = |(at, _, mapping): (u16, ObjectId, &Mapping)| {
        let user_va = address(mapping.memory)?;
        let (iova, length_bytes) = (mapping.iova, mapping.length_bytes);
        Some(Call::Container(ContainerCall::GiveVaddr {
            container: through(at)?,
            user_va,
            length_bytes,
            iova,
        }))
    };
    vm.mappings().filter_map(call).collect()
}
