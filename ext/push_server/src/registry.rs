//! The clients that the garbage collector must keep: those of open connections. The core knows
//! them by number; this is where a number becomes a Ruby object again.

use std::collections::HashMap;

use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Class, DataTypeFunctions, Error, Module, RModule, Ruby, TypedData, Value};

use crate::cell::GvlCell;
use crate::client::Client;

static CLIENTS: GvlCell<Option<HashMap<u64, Obj<Client>>>> = GvlCell::new(None);

/// Exists once, for its `mark`.
#[derive(TypedData)]
#[magnus(class = "PushServer::Registry", mark, free_immediately)]
struct Root;

impl DataTypeFunctions for Root {
    fn mark(&self, marker: &Marker) {
        CLIENTS.while_marking(|clients| {
            for client in clients.iter().flat_map(HashMap::values) {
                marker.mark(*client);
            }
        });
    }
}

pub fn init(ruby: &Ruby, module: RModule) -> Result<(), Error> {
    module.define_class("Registry", ruby.class_object())?.undef_default_alloc_func();
    let _: Value = module.funcall("private_constant", ("Registry",))?;
    CLIENTS.with(ruby, |clients| *clients = Some(HashMap::new()));
    ruby.gc_register_mark_object(ruby.obj_wrap(Root));
    Ok(())
}

/// Keeps `client` until it is removed.
pub fn insert(ruby: &Ruby, id: u64, client: Obj<Client>) {
    CLIENTS.with(ruby, |clients| clients.get_or_insert_default().insert(id, client));
}

/// The client with this number.
pub fn get(ruby: &Ruby, id: u64) -> Option<Obj<Client>> {
    CLIENTS.with(ruby, |clients| clients.as_ref()?.get(&id).copied())
}

/// Lets go of a client.
pub fn remove(ruby: &Ruby, id: u64) {
    CLIENTS.with(ruby, |clients| clients.as_mut()?.remove(&id));
}
