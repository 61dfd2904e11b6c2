# frozen_string_literal: true

require_relative "../certificates"
require_relative "../self_signed"
require_relative "tcp"

module PushServer
  module Endpoint
    # ssl://host:port?cert=path&key=path: one TCP socket for each address of the host, whose connections are encrypted.
    class Ssl < Tcp
      # What may be in the query: each once, but cert and key.
      KEYS = %w[cert key ca verify_mode].freeze
      # What Puma's users write, and what is so here anyway.
      ALWAYS = { "no_tlsv1" => "true", "no_tlsv1_1" => "true" }.freeze
      WANTED = "give ssl://host:port?cert=PATH&key=PATH"
      private_constant :KEYS, :ALWAYS, :WANTED

      # @return [Certificates]
      attr_reader :certificates

      # @param url [String] as above. Several certificates: cert and key for each. Client certificates: ca=PATH and
      #   verify_mode=peer or force_peer
      # @param port [Integer] the port when the URL has none
      # @param self_signed [Boolean] whether an endpoint without a certificate has one that this server makes
      # @raise [OptionError]
      def self.parse(url, port:, self_signed: false)
        refuse = ->(reason) { raise OptionError, "cannot listen on #{url.inspect}: #{reason}" }
        place, query = url.split("?", 2)
        host, port = host_and_port(place, port, WANTED)
        new(host, port, certificates(fields(query.to_s, refuse), host, self_signed, refuse))
      end

      def self.fields(query, refuse)
        query.split("&").map do |part|
          key, value = part.split("=", 2)
          value = value.to_s.gsub(/%(\h\h)/n) { $1.hex.chr }
          refuse.call("#{key} needs a value") if value.empty?
          next if ALWAYS[key] == value

          refuse.call("there is no #{key}: it can have #{KEYS.join(", ")}") unless KEYS.include?(key)
          [key, value]
        end.compact
      end

      def self.certificates(fields, host, self_signed, refuse)
        paths = ->(name) { fields.filter_map { |key, value| File.expand_path(value) if key == name } }
        certs, keys, ca = %w[cert key ca].map(&paths)
        mode, modes = fields.assoc("verify_mode")&.last || "none", Certificates::VERIFY_MODES
        refuse.call("verify_mode can be #{modes.join(", ")}") unless modes.include?(mode)
        refuse.call("it has #{certs.size} cert and #{keys.size} key: each certificate needs its key") if certs.size != keys.size
        refuse.call("it can have one ca") if ca.size > 1
        pairs = certs.zip(keys)
        return Certificates.new(pairs, authority: ca.first, verify_mode: mode) if pairs.any?

        refuse.call("#{WANTED}, or let the server make a certificate with --tls-self-signed") unless self_signed
        SelfSigned.new(host, authority: ca.first, verify_mode: mode)
      end
      private_class_method :fields, :certificates

      # @param certificates [Certificates]
      def initialize(host, port, certificates)
        @certificates = certificates
        super(host, port)
      end

      # Makes sure that the certificates can be used.
      # @raise [BindError]
      def prepare
        certificates.load
      rescue Error => e
        raise BindError, "cannot listen on #{self}: #{e.message}"
      end

      # Has listeners encrypt their connections.
      # @param listeners [Array<Listener>] those of this endpoint, also if they have come from another process
      # @raise [BindError]
      def secure(listeners)
        prepare
        listeners.each { |listener| listener.secure(certificates) }
      end

      # @return [Ssl] with the port of these listeners in place of 0
      def bound_to(listeners) = Ssl.new(host, listeners.first.port, certificates)

      private

      def scheme = "ssl"
    end
  end
end
