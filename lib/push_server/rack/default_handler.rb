# frozen_string_literal: true

require "rack/version"

module PushServer
  # Makes plain `rackup` serve with push_server if the config.ru requires this library. Rackup 2, and Rack 2 itself, ask
  # their module of handlers for a default after they have loaded the config.ru. An environment variable would do the same,
  # but consoles, jobs and child processes would inherit it.
  # @api private
  module DefaultHandler
    # If one of these is set, the user has chosen a handler. With the last two, Rack 2 is a CGI program.
    CHOICES = %w[RACKUP_HANDLER RACK_HANDLER PHP_FCGI_CHILDREN REQUEST_METHOD].freeze
    private_constant :CHOICES

    # @return [Module] the handler that rackup runs when it is not told which one
    def default = CHOICES.any? { |name| ENV.key?(name) } ? super : get("push_server")

    # The module of handlers is a small file, which loads no server. It is loaded now, because rackup may be loaded after
    # this library. Without the gem rackup there is nothing to do.
    def self.install
      require ::Rack.release < "3" ? "rack/handler" : "rackup/handler"
      (::Rack.release < "3" ? ::Rack::Handler : ::Rackup::Handler).singleton_class.prepend(self)
    rescue LoadError
      nil
    end
  end

  DefaultHandler.install
  private_constant :DefaultHandler
end
