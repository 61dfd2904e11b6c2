# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "endpoint/descriptor"
require_relative "endpoint/ssl"
require_relative "endpoint/tcp"
require_relative "endpoint/unix"

module PushServer
  # The places to listen that `bind` can name: a class for each kind of URL. Endpoints are frozen values, for any thread.
  # Each kind has:
  #
  # * `parse(url, port:, self_signed:)`, a class method, which raises an {OptionError};
  # * `prepare`, which raises a {BindError} if what the endpoint names cannot be used;
  # * `open`, which returns {Listener}s. If it raises a {BindError}, nothing is left open;
  # * `secure(listeners)`, which has them encrypt their connections, if the endpoint is such a place;
  # * `bound_to(listeners)`, the same endpoint with the port that the system chose;
  # * `to_s`, the URL. Two endpoints with the same URL are the same place.
  module Endpoint
    KINDS = { "tcp" => Tcp, "ssl" => Ssl, "unix" => Unix, "fd" => Descriptor }.freeze
    WANTED = "give tcp://host:port (such as tcp://127.0.0.1:9292 or tcp://[::1]:9292), unix:///path, fd://3 or fd://NAME, " \
             "or ssl://host:port?cert=PATH&key=PATH"
    private_constant :KINDS, :WANTED

    # @param url [String]
    # @param port [Integer] the port of a tcp:// URL that has none
    # @param self_signed [Boolean] whether an ssl:// URL needs no certificate
    # @raise [OptionError]
    def self.parse(url, port:, self_signed: false)
      kind = KINDS[url[/\A\w+(?=:)/]]
      raise OptionError, "cannot listen on #{url.inspect}: #{WANTED}" unless kind

      kind.parse(url, port: port, self_signed: self_signed)
    end

    # An endpoint of a server with these options.
    # @param url [String]
    # @param options [Options]
    # @raise [OptionError]
    def self.for(url, options) = parse(url, port: options[:port], self_signed: options[:tls_self_signed])

    # All endpoints of a server with these options. Logs a warning if the user seems to want TLS, and gets none.
    # @param urls [Array<String>]
    # @param options [Options]
    # @raise [OptionError]
    def self.all(urls, options)
      endpoints = urls.map { |url| self.for(url, options) }
      if options[:tls_self_signed] && endpoints.grep(Ssl).empty?
        PushServer.log(:warn, "#{options.source(:tls_self_signed)} has no effect: the server listens on no ssl:// URL")
      end
      endpoints
    end
  end
end
