//! What handles stand for.
#[cfg(feature = "runtime")]
use crate::instance::Instance;
use crate::{driven::Driven, handles::Table, status::Status};
use sansbox_engine::Plan;
use std::sync::{Arc, Mutex};

/// The one thing that is shared; see [`crate::handles`].
static OBJECTS: Table<Object> = Table::new();

/// What a handle stands for.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Plan(Arc<Plan>),
    Machine(Arc<Mutex<Driven>>),
    #[cfg(feature = "runtime")]
    Instance(Arc<Instance>),
}

/// Gives an object a handle.
pub(crate) fn insert(object: Object) -> Result<u64, Status> {
    OBJECTS.insert(object)
}

/// How many handles are in use.
pub(crate) fn count() -> usize {
    OBJECTS.len()
}

pub(crate) fn plan(handle: u64) -> Result<Arc<Plan>, Status> {
    let Object::Plan(plan) = OBJECTS.get(handle)? else {
        return Err(Status::BadHandle);
    };
    Ok(plan)
}

/// Works with a machine. A second thread that calls for the same one waits.
pub(crate) fn with_machine<T>(
    handle: u64,
    work: impl FnOnce(&mut Driven) -> Result<T, Status>,
) -> Result<T, Status> {
    let Object::Machine(machine) = OBJECTS.get(handle)? else {
        return Err(Status::BadHandle);
    };
    // Poisoned: it panicked half way, and what it holds is not to be relied on.
    let mut machine = machine.lock().map_err(|_| Status::Panicked)?;
    work(&mut machine)
}

#[cfg(feature = "runtime")]
pub(crate) fn instance(handle: u64) -> Result<Arc<Instance>, Status> {
    let Object::Instance(instance) = OBJECTS.get(handle)? else {
        return Err(Status::BadHandle);
    };
    Ok(instance)
}

pub(crate) fn free_plan(handle: u64) -> Result<Status, Status> {
    OBJECTS.remove(handle, |object| matches!(object, Object::Plan(_)))?;
    Ok(Status::Ok)
}

pub(crate) fn free_machine(handle: u64) -> Result<Status, Status> {
    OBJECTS.remove(handle, |object| matches!(object, Object::Machine(_)))?;
    Ok(Status::Ok)
}

/// Takes a running proxy out of reach of later calls.
#[cfg(feature = "runtime")]
pub(crate) fn take_instance(handle: u64) -> Result<Arc<Instance>, Status> {
    let is_instance = |object: &Object| matches!(object, Object::Instance(_));
    let Object::Instance(instance) = OBJECTS.remove(handle, is_instance)? else {
        return Err(Status::BadHandle);
    };
    Ok(instance)
}
