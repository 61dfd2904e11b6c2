# frozen_string_literal: true

require "rack"
require "rack/sendfile"

module PushServer
  # Rack::Sendfile takes an app's file out of the response and leaves its path in a header, for a server that sends it.
  # This server sends files by itself, from `to_path`, and does not know the header: the client would get no bytes. So
  # Rack::Sendfile does nothing here where it is set to X-Sendfile or X-Lighttpd-Send-File. X-Accel-Redirect is left
  # alone: it is meant for nginx in front.
  # @api private
  module Sendfile
    # @param env [Hash] the env of a request; those of other servers are left alone
    def call(env)
      return super unless env["SERVER_SOFTWARE"] == EnvTemplate::SOFTWARE

      /x-accel-redirect/i.match?(variation(env).to_s) ? super : @app.call(env)
    end
  end

  Rack::Sendfile.prepend(Sendfile)
end
