# frozen_string_literal: true

require_relative "activation"
require_relative "endpoint"

module PushServer
  # The endpoints that this process has opened, each with its listeners. Endpoints can be added and retired at any time.
  # One thread at a time.
  class Binder
    def initialize
      # By the endpoint's URL.
      @listeners = {}
      # The URLs before the system has chosen a port.
      @typed = {}
    end

    # Opens an endpoint and keeps its listeners.
    # @param endpoint [Endpoint::Tcp, Endpoint::Ssl, Endpoint::Unix, Endpoint::Descriptor]
    # @param listeners [Array<Listener>] those of the endpoint, if they are open already
    # @return [String] the endpoint's URL, with the port that the system chose
    # @raise [BindError] and then nothing is left open
    def add(endpoint, listeners = open(endpoint))
      endpoint.secure(listeners)
      url = endpoint.bound_to(listeners).to_s
      check_unknown(url)
      @typed[url] = endpoint.to_s
      @listeners[url] = listeners
      url
    end

    # Opens an endpoint without keeping it, for {#add}. A socket that systemd has passed for it is used instead.
    # @return [Array<Listener>]
    # @raise [BindError]
    def open(endpoint)
      check_unknown(endpoint.to_s)
      endpoint.prepare
      Activation.current.claim(endpoint) || endpoint.open
    end

    # Forgets an endpoint: removes the file of its Unix socket, and closes its sockets. What was duplicated from them stays
    # open.
    # @param url [String] as {#add} returned it
    # @return [Array<Listener>, nil] its listeners; nil if there is no such endpoint
    def retire(url) = @listeners.delete(url)&.each(&:retire)

    # Forgets all endpoints, as {#retire} does.
    def retire_all
      @listeners.shift.last.each(&:retire) until @listeners.empty?
    end

    # @return [Array<Listener>] in the order in which they were added
    def listeners = @listeners.values.flatten

    # What {Inheritance} keeps: each endpoint as it was typed, with its listeners.
    # @return [Array<Array(String, Array<Listener>)>]
    def places = @listeners.map { |url, listeners| [@typed.fetch(url), listeners] }

    # @return [Array<String>] where people find the server, ports resolved
    def urls = listeners.map(&:url).uniq

    # Closes the sockets in this process, and keeps what they are called. Files stay, and what was duplicated stays open.
    def close = listeners.each(&:close)

    private

    # With TLS or without, a place is the same.
    def check_unknown(url)
      known = @listeners.keys.find { |other| other.sub(/\A(?:tcp|ssl):/, "") == url.sub(/\A(?:tcp|ssl):/, "") }
      return unless known

      as = ", as #{known}" unless known == url
      advice = ". One URL can have several pairs of cert and key" if known == url && url.start_with?("ssl:")
      raise BindError, "cannot listen on #{url}: this server listens there already#{as}#{advice}"
    end
  end
end
