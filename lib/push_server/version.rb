# frozen_string_literal: true

module PushServer
  # By Semantic Versioning.
  VERSION = "0.1.0"
end
