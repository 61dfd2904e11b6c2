# frozen_string_literal: true

require "rack"
require "rack/sendfile"

module PushServer
  # Rack::Sendfile takes a file's content out of the response and puts its path into a header, for a server that sends
  # the file. This server sends files by itself, from `to_path`, and ignores the header: the client would get no content.
  # So Rack::Sendfile does nothing here if it is set to X-Sendfile or X-Lighttpd-Send-File. X-Accel-Redirect is left
  # alone: it is meant for an nginx in front.
  # @api private
  module Sendfile
    # @param env [Hash] the env of a request; other servers are left alone
    def call(env)
      return super unless env["SERVER_SOFTWARE"] == EnvTemplate::SOFTWARE

      /x-accel-redirect/i.match?(variation(env).to_s) ? super : @app.call(env)
    end
  end

  Rack::Sendfile.prepend(Sendfile)
end
