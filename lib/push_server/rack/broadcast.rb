# frozen_string_literal: true

require_relative "../channels"
require_relative "../errors"
require_relative "broadcast_messages"

module PushServer
  # A Rack app in front of another one: programs in any language publish through it, by a POST request in AnyCable's format
  # (docs/publishing.md). It passes requests for other paths on. Frozen; any thread.
  #
  # It answers when the messages have their numbers. So a 201 means that all of them are published, and before all that is
  # published after the answer.
  class Broadcast
    # What is signed with the secret: the signature is the token. AnyCable has the same text.
    SIGNED = "broadcast-cable"
    # RFC 6750 section 2.1; RFC 9110 section 11.1: the scheme has no case.
    BEARER = /\ABearer +(\S+)\s*\z/i
    TEXT = { "content-type" => "text/plain; charset=utf-8" }.freeze
    RETRY = { "retry-after" => "1" }.freeze
    private_constant :BEARER, :TEXT, :RETRY

    class << self
      # The token of a secret: HMAC-SHA256 in hex.
      # @param secret [String]
      # @return [String]
      def token(secret)
        # Only servers with a secret need the library.
        require "openssl"
        OpenSSL::HMAC.hexdigest("SHA256", secret, SIGNED)
      end

      # Puts it in front of an app, if the options have a secret.
      # @param app [#call]
      # @param options [Options]
      # @return [#call]
      def in_front_of(app, options)
        return app unless options[:broadcast_secret]

        # No request has more than may wait for its place.
        new(app, secret: options[:broadcast_secret], path: options[:broadcast_path],
                 max_bytes: options[:publish_queue_bytes], max_messages: options[:publish_queue])
      end
    end

    # @param app [#call] what answers requests for other paths
    # @param secret [String] what the token is made from
    # @param path [String] as it is in the request (percent-encoded)
    # @param max_bytes [Integer] the longest body
    # @param max_messages [Integer] how many messages a request may have
    def initialize(app, secret:, path:, max_bytes:, max_messages:)
      @app = app
      @token = Broadcast.token(secret)
      @path = path
      @max_bytes = max_bytes
      @max_messages = max_messages
      freeze
    end

    # Called by the server for each request.
    def call(env) = env["PATH_INFO"] == @path ? answer(env) : @app.call(env)

    # Without the token.
    def inspect = "#<#{self.class} #{@path}>"

    private

    def answer(env)
      return refuse(405, "Only POST is allowed here", "allow" => "POST") unless env["REQUEST_METHOD"] == "POST"
      return unauthorized unless authorized?(env["HTTP_AUTHORIZATION"])
      return refuse(415, "Send the body as application/json, without a content-encoding") unless json?(env)

      messages = BroadcastMessages.parse(read(env), max: @max_messages)
      messages.check
      [201, TEXT.dup, ["#{messages.publish}\n"]]
    rescue BroadcastMessages::Refused => e
      refuse(e.status, e.message, e.status == 503 ? RETRY : {})
    end

    def read(env)
      text = env["rack.input"].read(@max_bytes + 1).to_s
      return text if text.bytesize <= @max_bytes

      raise BroadcastMessages::Refused.new(413, "More than the #{@max_bytes} bytes that publish_queue_bytes allows")
    end

    # Takes as long for each wrong token.
    def authorized?(header)
      given = BEARER.match(header.to_s)&.[](1)
      !given.nil? && OpenSSL.secure_compare(given, @token)
    end

    # RFC 9110 section 11.6.1
    def unauthorized
      refuse(401, "The token is missing or wrong: send Authorization: Bearer, and the HMAC-SHA256 of #{SIGNED} in hex, with " \
                  "the server's broadcast_secret as the key", "www-authenticate" => "Bearer")
    end

    def json?(env)
      env["CONTENT_TYPE"].to_s[/\A[^;]*/n].strip.casecmp?("application/json") &&
        ["", "identity"].include?(env["HTTP_CONTENT_ENCODING"].to_s.strip.downcase)
    end

    def refuse(status, text, headers = {}) = [status, TEXT.merge(headers), ["#{text}\n"]]
  end
  private_constant :Broadcast
end
