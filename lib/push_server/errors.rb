# frozen_string_literal: true

module PushServer
  # Anything that keeps the server from starting, or a channel from being used. The message is one line: what is wrong,
  # where, what to do.
  class Error < StandardError; end

  # An option has a value it cannot have, or a name no option has.
  class OptionError < Error; end

  # The server cannot listen where it was told to.
  class BindError < Error; end

  # A config.ru that is not there, raises, or runs nothing. The cause is the exception it raised.
  class ConfigError < Error; end

  # A method, constant or option of Iodine or Agoo that push_server does not have. The message says what to use instead.
  class UnsupportedError < Error; end

  # Raised inside the `each` of a response body when its client is gone, so that the body ends. Nothing is logged.
  class Disconnected < IOError; end
end
