# frozen_string_literal: true

module PushServer
  # Anything that keeps the server from starting, or a channel from being used. The message is one line: what is wrong,
  # where, what to do.
  class Error < StandardError; end

  # An option has a wrong value, or there is no option of that name.
  class OptionError < Error; end

  # The server cannot listen where it was told to.
  class BindError < Error; end

  # A config.ru that does not exist, raises, or runs no app. The cause is the exception that it raised.
  class ConfigError < Error; end

  # A method, constant or option of Iodine or Agoo that push_server does not have. The message says what to use instead.
  class UnsupportedError < Error; end

  # A message cannot be published now, or has no number yet. The processes of a server share one order of messages, and what
  # makes that order does not answer within `publish_timeout`; or a process without a server has found none. The app may try
  # again later.
  class EngineUnavailable < Error; end

  # Raised inside the `each` of a response body when its client has disconnected, so that the body ends. It is not logged.
  class Disconnected < IOError; end
end
