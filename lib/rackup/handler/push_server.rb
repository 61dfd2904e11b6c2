# frozen_string_literal: true

require "rackup/handler"
require "push_server/rack/handler"

module Rackup
  module Handler
    # `rackup -s push_server` with Rackup 2.
    module PushServer
      extend ::PushServer::RackHandler
    end

    register :push_server, PushServer
  end
end
