# frozen_string_literal: true

module PushServer
  VERSION = "0.1.0"
end
