//! `PushServer::Registry`: the clients that the garbage collector must keep, those of open connections. The core knows
//! them by number; this finds the Ruby object of a number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use magnus::gc::Marker;
use magnus::typed_data::Obj;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData};

use crate::ruby::client::Client;
use crate::support::cell::GvlCell;
use crate::support::classes::define_private;

static CLIENTS: GvlCell<Option<Clients>> = GvlCell::new(None);

type Clients = HashMap<u64, Obj<Client>, BuildHasherDefault<Numbers>>;

/// Hashes a client's number. Numbers that count up are spread well enough by themselves. The product changes the high
/// bits too, by which the map tells entries apart.
#[derive(Default)]
struct Numbers(u64);

impl Hasher for Numbers {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The one object of this class exists for its `mark`.
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
    define_private::<Root>(ruby, module, "Registry")?;
    CLIENTS.with(ruby, |clients| *clients = Some(Clients::default()));
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

/// Lets the garbage collector free a client, once the app does not refer to it.
pub fn remove(ruby: &Ruby, id: u64) {
    CLIENTS.with(ruby, |clients| clients.as_mut()?.remove(&id));
}
