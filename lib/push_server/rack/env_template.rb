# frozen_string_literal: true

require "uri" # Rack::Lint of Rack 2.2 checks hosts with it, and refuses all of them if it is not loaded
require_relative "../version"
require_relative "client_certificate"
require_relative "empty_input"

module PushServer
  # The part of a Rack env that does not depend on the request. Each request's env starts as a copy of its listener's
  # template; Rack::Lint of Rack 2.2 and 3 says what must be in it.
  module EnvTemplate
    # The protocol's last version number, that of Rack 2.2 and 3.0. (Rack 3.2 calls its release Rack::VERSION.)
    RACK_VERSION = [1, 3].freeze
    # SERVER_SOFTWARE.
    SOFTWARE = "push_server/#{VERSION}".freeze

    module_function

    # @param listener [Listener]
    # @param threads [Integer] how many threads may be in the app at once
    # @param processes [Boolean] whether other processes serve the same app
    # @return [Hash{String => Object}] frozen
    def for(listener, threads:, processes: false)
      {
        **encryption(listener),
        "SCRIPT_NAME" => "",
        "SERVER_NAME" => listener.server_name,
        "SERVER_PORT" => listener.server_port,
        "SERVER_SOFTWARE" => SOFTWARE,
        "rack.version" => RACK_VERSION,
        "rack.url_scheme" => listener.scheme,
        "rack.errors" => $stderr,
        "rack.multithread" => threads > 1,
        "rack.multiprocess" => processes,
        "rack.run_once" => false,
        "rack.hijack?" => true,
        "rack.input" => EmptyInput::INSTANCE
      }.freeze
    end

    # @param listener [Listener]
    # @return [Hash{String => String}] what is there only if connections are encrypted
    def encryption(listener)
      return {} unless listener.scheme == "https"

      verifies = listener.tls&.fetch(:verify_mode, "none") != "none"
      { "HTTPS" => "on", **(verifies ? ClientCertificate::NONE : {}) }
    end
  end
end
