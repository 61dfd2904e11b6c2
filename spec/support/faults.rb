# frozen_string_literal: true

# For specs of faults: an app, the states that a connection can be in, and what clients, the app and the system do wrong in them.
module Faults
  # What a client can do to its connection.
  CLIENT_FAULTS = { "waits" => ->(_) {},
                    "has closed its side" => ->(connection) { connection.finish_writing },
                    "has disconnected" => ->(connection) { connection.close },
                    "has reset its connection" => ->(connection) { connection.reset } }.freeze
end

require_relative "faults/app"
require_relative "faults/states"
require_relative "faults/population"
require_relative "faults/visitor"
require_relative "faults/round"
