# frozen_string_literal: true

require "rack/version"

if Rack.release < "3"
  require "rack"
  require "rack/handler"
  require "push_server/rack/handler"

  module Rack
    module Handler
      # `rackup -s push_server` with Rack 2.
      module PushServer
        extend ::PushServer::RackHandler
      end

      register :push_server, PushServer
    end
  end
else
  # Rack 3 has no handlers; Rackup does.
  require "rackup/handler/push_server"
end
