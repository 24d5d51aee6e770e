//! Calls that both roles make in other protocols only.

use crate::abi::call::{Call, ContainerCall};
use crate::abi::ids::{Fd, ObjectId, Va};
use crate::vm::{Mapping, Memory, Vm};

/// Returns the calls that pass the address in this process for every RAM mapping of the containers.
/// `through` maps the index of a container to the descriptor on which to call; `None` skips the
/// container.
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
