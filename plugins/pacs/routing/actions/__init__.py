"""What rules have done beside deliveries: labels, copies with other attributes, 3D models, mail, webhooks, HL7."""
