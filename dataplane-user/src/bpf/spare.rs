//! Programs for the next ENI: loading is most of the time until an interface is guarded, and needs nothing of it.

use super::{
    Error,
    object::{Loader, Object},
};

#[derive(Debug, Default)]
pub(super) struct Spare {
    /// One that knows of no pins.
    loader: Option<Loader>,
    object: Option<Object>,
}

impl Spare {
    /// Loads them, unless there are some.
    pub(super) fn prepare(&mut self, frags: bool) -> Result<(), Error> {
        if self.object.is_none() {
            let loader = self.loader.get_or_insert_with(Loader::new);
            self.object = Some(Object::spare(loader, frags)?);
        }
        Ok(())
    }

    /// Whoever takes them pins their maps.
    pub(super) fn take(&mut self) -> Option<Object> {
        self.object.take()
    }
}
