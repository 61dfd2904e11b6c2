//! Strings, symbols and method names that recur: they are made once, and never collected nor moved.

use std::sync::OnceLock;

use magnus::value::{Opaque, OpaqueId};
use magnus::{RString, Ruby, StaticSymbol};
use push_core::push::Protocol;

use crate::support::pinned::pinned;

static WORDS: OnceLock<Words> = OnceLock::new();

macro_rules! words {
    (
        strings { $( $string:ident = $text:literal; )+ }
        symbols { $( $symbol:ident = $symbol_text:literal; )+ }
        methods { $( $method:ident = $method_text:literal; )+ }
    ) => {
        /// The strings, symbols and method names. Strings are frozen and interned.
        pub struct Words {
            $( pub $string: Opaque<RString>, )+
            $( pub $symbol: Opaque<StaticSymbol>, )+
            $( pub $method: OpaqueId, )+
        }

        impl Words {
            fn make(ruby: &Ruby) -> Self {
                Words {
                    $( $string: interned(ruby, $text), )+
                    // If the app has made the same symbol from a String before, the symbol is an object, which could
                    // move.
                    $( $symbol: pinned(ruby, ruby.sym_new($symbol_text)), )+
                    $( $method: ruby.intern($method_text).into(), )+
                }
            }
        }
    };
}

words! {
    strings {
        request_method = "REQUEST_METHOD";
        path_info = "PATH_INFO";
        query_string = "QUERY_STRING";
        server_name = "SERVER_NAME";
        server_port = "SERVER_PORT";
        server_protocol = "SERVER_PROTOCOL";
        remote_addr = "REMOTE_ADDR";
        content_type = "CONTENT_TYPE";
        content_length = "CONTENT_LENGTH";
        http_host = "HTTP_HOST";
        http_last_event_id = "HTTP_LAST_EVENT_ID";
        rack_input = "rack.input";
        rack_hijack = "rack.hijack";
        rack_hijack_io = "rack.hijack_io";
        rack_early_hints = "rack.early_hints";
        rack_protocol = "rack.protocol";
        rack_response_finished = "rack.response_finished";
        rack_upgrade = "rack.upgrade";
        rack_is_upgradeable = "rack.upgrade?";
        rack_url_scheme = "rack.url_scheme";
        http = "http";
        https = "https";
        https_is_on = "HTTPS";
        original_method = "push_server.method";
        session_owner = "push_server.session_owner";
        get = "GET";
        post = "POST";
        put = "PUT";
        patch = "PATCH";
        delete = "DELETE";
        head = "HEAD";
        options = "OPTIONS";
        connect = "CONNECT";
        http_10 = "HTTP/1.0";
        http_11 = "HTTP/1.1";
        http_2 = "HTTP/2";
        empty = "";
    }
    symbols {
        websocket = "websocket";
        sse = "sse";
    }
    methods {
        call = "call";
        on_open = "on_open";
        on_message = "on_message";
        on_drained = "on_drained";
        on_shutdown = "on_shutdown";
        on_close = "on_close";
        on_error = "on_error";
        on_gap = "on_gap";
    }
}

/// A frozen string that is never collected and never moved.
pub fn interned(ruby: &Ruby, text: &str) -> Opaque<RString> {
    pinned(ruby, ruby.str_new(text).to_interned_str())
}

/// Makes the words, when the extension is loaded.
pub fn init(ruby: &Ruby) {
    // They are set already if the extension is loaded twice.
    WORDS.get_or_init(|| Words::make(ruby));
}

/// The words.
pub fn words(ruby: &Ruby) -> &'static Words {
    WORDS.get_or_init(|| Words::make(ruby))
}

impl Words {
    /// The name of a protocol, as `rack.upgrade?` and `Client#protocol` have it.
    pub fn protocol(&self, ruby: &Ruby, protocol: Protocol) -> StaticSymbol {
        ruby.get_inner(match protocol {
            Protocol::WebSocket => self.websocket,
            Protocol::Sse => self.sse,
        })
    }
}
