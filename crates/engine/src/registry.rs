//! Finding containers, and giving names out.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};

use crate::Engine;
use crate::names;
use crate::state::Container;

/// Attempts at a name nobody has.
const NAME_ATTEMPTS: u32 = 20;

impl Engine {
    /// All containers, newest first.
    pub(crate) fn all_containers(&self) -> Vec<Rc<Container>> {
        let mut all: Vec<_> = self.containers.borrow().values().cloned().collect();
        order::sort_by_key(&mut all, |container| {
            std::cmp::Reverse(container.data.borrow().created_nanos)
        });
        all
    }

    /// By whole id, name, or the beginning of an id, in this order.
    pub(crate) fn find_container(&self, typed: &str) -> Result<Rc<Container>> {
        if let Some(found) = self.containers.borrow().get(typed) {
            return Ok(Rc::clone(found));
        }
        let name = typed.trim_start_matches('/');
        let by_name = self.container_named(name);
        if let Some(found) = by_name {
            return Ok(found);
        }
        let containers = self.containers.borrow();
        let mut fitting = containers
            .values()
            .filter(|container| container.id.starts_with(typed));
        match (fitting.next(), fitting.next()) {
            _ if typed.is_empty() => Err(ApiError::invalid("No container ID or name supplied")),
            (Some(found), None) => Ok(Rc::clone(found)),
            (Some(_), Some(_)) => Err(ApiError::invalid(format!(
                "multiple IDs found with provided prefix: {typed}"
            ))),
            (None, _) => Err(ApiError::not_found(format!("No such container: {typed}"))),
        }
    }

    pub(crate) fn container_named(&self, name: &str) -> Option<Rc<Container>> {
        let containers = self.containers.borrow();
        containers
            .values()
            .find(|container| container.data.borrow().name == name)
            .cloned()
    }

    /// Takes a name for the container `id`, a made-up one if none is asked for.
    pub(crate) fn reserve_name(&self, wanted: &str, id: &str) -> Result<String> {
        if wanted.is_empty() {
            for attempt in 0..NAME_ATTEMPTS {
                let name = names::generate(&self.os.rng(), attempt);
                if self.reserve_name(&name, id).is_ok() {
                    return Ok(name);
                }
            }
            return self.reserve_name(&id[..12], id);
        }
        self.reserve_new_name(wanted, id)
    }

    /// The same for a name that somebody chose.
    pub(crate) fn reserve_new_name(&self, wanted: &str, id: &str) -> Result<String> {
        engine_api::container::create::check_name("container", wanted)?;
        let owner = match self.container_named(wanted) {
            Some(other) => Some(other.id.clone()),
            None => self.reserved_names.borrow().get(wanted).cloned(),
        };
        if let Some(owner) = owner {
            return Err(ApiError::conflict(format!(
                "Conflict. The container name \"/{wanted}\" is already in use by container \"{owner}\". You \
                 have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        self.reserved_names
            .borrow_mut()
            .insert(wanted.to_string(), id.to_string());
        Ok(wanted.to_string())
    }

    /// The container has the name now, or never will.
    pub(crate) fn release_name(&self, name: &str) {
        self.reserved_names.borrow_mut().remove(name);
    }
}
