# frozen_string_literal: true

require_relative "../certificates"
require_relative "../self_signed"
require_relative "tcp"

module PushServer
  module Endpoint
    # ssl://host:port?cert=path&key=path: one TCP socket for each address of the host, whose connections are encrypted.
    class Ssl < Tcp
      # The parameters of the URL: each once, but cert and key.
      PARAMETERS = %w[cert key ca verify_mode].freeze
      # What Puma's users write, and what is so here anyway.
      ALWAYS = { "no_tlsv1" => "true", "no_tlsv1_1" => "true" }.freeze
      WANTED = "give ssl://host:port?cert=PATH&key=PATH"
      # An & without quotes ends a shell's command, and so cuts the URL off.
      UNPAIRED = "each cert needs its key, and it has %d cert and %d key. In a shell, put the URL in quotes"
      private_constant :PARAMETERS, :ALWAYS, :WANTED, :UNPAIRED

      # @return [Certificates]
      attr_reader :certificates

      # @param url [String] as above. Several certificates: cert and key for each. Client certificates: ca=PATH and
      #   verify_mode=peer or force_peer
      # @param port [Integer] the port when the URL has none
      # @param self_signed [Boolean] whether an endpoint without a certificate has one that this server makes
      # @raise [OptionError]
      def self.parse(url, port:, self_signed: false)
        place, query = url.split("?", 2)
        # Without the parameters: one that is there by mistake may be a private key.
        refuse = ->(reason) { raise OptionError, "cannot listen on #{place.inspect}: #{reason}" }
        host, port = host_and_port(place, port, WANTED)
        new(host, port, certificates(fields(query.to_s, refuse), host, self_signed, refuse))
      end

      # @return [Array<Array(String, String)>] each parameter with its value
      def self.fields(query, refuse)
        query.split("&").reject(&:empty?).filter_map do |part|
          name, value = part.split("=", 2)
          value = value.to_s.gsub(/%(\h\h)/n) { $1.hex.chr }
          refuse.call("#{name} needs a value") if value.empty?
          next if ALWAYS[name] == value

          refuse.call("there is no parameter #{name}: #{advice(name)}") unless PARAMETERS.include?(name)
          [name, value]
        end
      end

      # @param name [String] of a parameter that there is not
      def self.advice(name)
        return "write it to a file, and give the path as #{name.delete_suffix("_pem")}" if %w[cert_pem key_pem].include?(name)

        "give #{PARAMETERS[..-2].join(", ")} or #{PARAMETERS.last}"
      end

      def self.certificates(fields, host, self_signed, refuse)
        paths = ->(name) { fields.filter_map { |key, value| File.expand_path(value) if key == name } }
        certs, keys, ca = %w[cert key ca].map(&paths)
        twice = %w[ca verify_mode].find { |name| fields.count { |key, _| key == name } > 1 }
        refuse.call("it has more than one #{twice}") if twice
        mode = verify_mode(fields, refuse)
        refuse.call(format(UNPAIRED, certs.size, keys.size)) if certs.size != keys.size
        pairs = certs.zip(keys)
        return Certificates.new(pairs, authority: ca.first, verify_mode: mode) if pairs.any?

        refuse.call("#{WANTED}, or let the server make a certificate with --tls-self-signed") unless self_signed
        SelfSigned.new(host, authority: ca.first, verify_mode: mode)
      end

      def self.verify_mode(fields, refuse)
        mode = fields.assoc("verify_mode")&.last || "none"
        return mode if Certificates::VERIFY_MODES.include?(mode)

        refuse.call("verify_mode cannot be #{mode.inspect}: give none, peer or force_peer")
      end
      private_class_method :fields, :advice, :certificates, :verify_mode

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
